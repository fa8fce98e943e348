"""A bucket to be mounted, and the same bucket as its vendor's own client sees it.

    with store.mount(write_back="on") as mount:
        (mount.path / "f").write_bytes(b"content")
    assert store.stored.content("f") == b"content"
"""

from .mount import Mount
from .stored import S3Stored, stored


class EmulatorStore:
    def __init__(self, emulator, dialect, directory):
        self.emulator = emulator
        self.dialect = dialect
        self.directory = directory
        self.stored = stored(emulator, dialect)

    def mount(self, name="", **options):
        """A mount in the test's directory; `name` tells the mounts of one test apart."""
        directory = self.directory / name
        directory.mkdir(exist_ok=True)
        if options.get("write_back") == "off":
            # The default.
            del options["write_back"]
        return Mount(self.emulator, f"{self.dialect}://bkt", directory, options)


class MotoStore:
    dialect = "s3"

    def __init__(self, moto, directory):
        self.moto = moto
        self.directory = directory
        self.stored = S3Stored(None, client=moto.client)

    def mount(self, name="", **options):
        directory = self.directory / name
        directory.mkdir(exist_ok=True)
        if options.get("write_back") == "off":
            del options["write_back"]
        return Mount(None, "s3://bkt", directory, self.moto.OPTIONS | {"endpoint": self.moto.url} | options)
