"""A vault to be mounted, and the same vault as a client of our own sees it."""

import urllib.parse

from .mount import Mount
from .vaults import OAS

MARK = "thawfs1:"
DESCRIPTION_MAX = 128


def described(path):
    """The description under which the mount keeps a path, of text or bytes."""
    return MARK + urllib.parse.quote(path, safe="/")


def undescribed(description):
    """The path of a description."""
    return urllib.parse.unquote(description.removeprefix(MARK))


class Vault:
    """`mount` may be used before `put`, but what is put is not seen by a mount before an inventory of the vault."""

    def __init__(self, emulator, directory, name="bkt"):
        self.emulator = emulator
        self.directory = directory
        self.name = name
        self.oas = OAS(emulator)
        self.id = self.oas.create_vault(name)
        # What was put, by its path, and what of it was restored from the start.
        self.archives = {}
        self.given = set()

    @property
    def source(self):
        return f"oas://{self.name}"

    def put(self, path, content, state="frozen"):
        """An archive of somebody else's, and an inventory that lists it. Answers its id."""
        archive = self.oas.upload(self.id, content, described(path))
        if state != "frozen":
            self.emulator.set_archive(self.name, archive, state=state)
            self.given.add(archive)
        self.emulator.set_archive(self.name)
        self.archives[path] = archive
        return archive

    def mount(self, name="", **options):
        directory = self.directory / name
        directory.mkdir(exist_ok=True)
        return Mount(self.emulator, self.source, directory, options)

    def listed(self):
        """The descriptions and sizes of what is in the vault now."""
        return sorted((archive["ArchiveDescription"], archive["Size"])
                      for archive in self.oas.inventory(self.id, self.emulator))

    def content(self, description):
        """Of the one archive of this description."""
        [archive] = [archive["ArchiveId"] for archive in self.oas.inventory(self.id, self.emulator)
                     if archive["ArchiveDescription"] == description]
        return self.oas.content(self.id, archive, self.emulator)

    def retrieved(self):
        """The paths of the retrieval jobs, with repetitions, but for what was restored from the start."""
        return [self.path(job["ArchiveId"]) for job in self.oas.jobs(self.id)
                if job["Action"] == "ArchiveRetrieval" and job["ArchiveId"] not in self.given]

    def retrievals(self, path=None, status=None):
        """How many retrieval jobs the vault has, of one archive or of all, in one state or in any."""
        return sum(job["Action"] == "ArchiveRetrieval" and path in (None, self.path(job["ArchiveId"]))
                   and status in (None, job["StatusCode"]) for job in self.oas.jobs(self.id))

    def path(self, archive):
        return next((path for path, known in self.archives.items() if known == archive), None)
