"""A vault of Cloud Backup in the emulator, and the commands and attributes that restore from it."""

import json

from .archive import attribute, set_attribute
from .command import Thawfs, thawfs
from .mount import Mount, environment
from .waiting import wait_until

FILES = [{"path": "/a.txt", "content": "first"}, {"path": "/d/b.txt", "content": "second"},
         {"path": "/d/c", "size": 5000}]
CONTENTS = {"a.txt": b"first", "d/b.txt": b"second"}
SNAPSHOT = {"id": "s-1", "origin": "source", "files": FILES, "duration": "100s"}
# Until a job of that snapshot has ended.
SPAN = "2m"


def make_vault(emulator, **ending):
    """The vault `v-1` with the snapshot `s-1`; time stands still, so that tests say when a job goes on."""
    emulator.set_scale(0)
    emulator.backup("v-1", SNAPSHOT | ending, name="cold")


def backup_environment(emulator, **more):
    return environment("oss", THAWFS_HBR_ENDPOINT=emulator.url, **more)


def backup(emulator, *arguments, **options):
    """Runs `thawfs backup` to its end."""
    return thawfs("backup", *arguments, env=backup_environment(emulator), **options)


def backup_json(emulator, *arguments):
    done = backup(emulator, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def backup_running(emulator, *arguments):
    return Thawfs("backup", *arguments, env=backup_environment(emulator))


def mount(emulator, directory, **options):
    return Mount(emulator, "oss://bkt", directory, {"hbr_endpoint": emulator.url} | options)


def restore_into(directory, wish="from=hbr:v-1/s-1"):
    assert set_attribute(directory, "restore", wish) is None


def standing(directory):
    """What `user.thaw.restore` of a directory says of its restore from a backup; None when it says nothing."""
    _, found, text = attribute(directory, "restore").partition(" backup=")
    return text if found else None


def wait_for_standing(directory, text, seconds=60):
    wait_until(lambda: standing(directory) == text, f"backup={text}", seconds)


def created(emulator):
    """How many restore jobs were made. libcurl sends a request again whose connection was closed: it is refused."""
    return sum(line["op"] == "CreateRestoreJob" and line["status"] == 200 for line in emulator.requests()["requests"])


def restore_jobs(emulator):
    """The restore jobs that there are, the newest first; also those whose makers never heard of them."""
    return backup_json(emulator, "jobs", "--vault", "v-1")["jobs"]
