"""The dialects side by side: what a test of frozen objects needs to know of each."""

import dataclasses
import datetime
import email.utils
import errno
import os
import re

import boto3
from botocore.config import Config

from .cos import cos_client
from .mount import Mount, is_mounted, wait_until
from .reader import run
from .vaulted import Vault


@dataclasses.dataclass(frozen=True)
class Archive:
    """A dialect's archive classes. A read waits for the quick one with the default options and `quick_options`."""

    dialect: str
    quick: str
    quick_options: dict
    quick_span: str
    slow: str
    slow_span: str
    # The tier that the slow one takes by itself, and how long it takes with Bulk.
    slow_tier: str | None
    bulk_span: str
    # The class that is readable at once.
    standard: str = "STANDARD"
    # What becomes of a copy of a restored object: it has its class, and is as frozen as every new object of that.
    copy_status: str = "frozen"
    # The attributes that its files have besides those of all.
    shown: tuple = ()

    @property
    def source(self):
        return f"{self.dialect}://bkt"

    @property
    def quick_wish(self):
        """The wish by name that takes `quick_span`."""
        return f"tier={self.quick_options['restore_tier']}" if "restore_tier" in self.quick_options else ""

    @property
    def slow_wish(self):
        """The wish by name for the slow class's own tier."""
        return f"tier={self.slow_tier}" if self.slow_tier else ""

    @property
    def told_span(self):
        """How long the slow one takes, as people are told it."""
        return self.slow_span.replace("h", " h")

    def hasten(self, path):
        """Has the mount look at a file that changed at the store, where it would do so in some minutes only."""
        if self.quick_span.endswith("h"):
            set_attribute(path, "refresh")

    def mount(self, emulator, directory, **options):
        """A mount whose reads wait for objects of the quick class."""
        return Mount(emulator, self.source, directory, self.quick_options | options)

    def restore_elsewhere(self, emulator, key):
        """Somebody else restores an object of the quick class for a day."""
        request = {"Days": 1}
        if "restore_tier" in self.quick_options:
            request["GlacierJobParameters"] = {"Tier": self.quick_options["restore_tier"]}
        client = cos_client(emulator) if self.dialect == "cos" else s3_client(emulator)
        client.restore_object(Bucket="bkt", Key=key, RestoreRequest=request)


ARCHIVES = {
    "oss": Archive("oss", "Archive", {}, "1m", "ColdArchive", "5h", "Standard", "12h", standard="Standard"),
    "s3": Archive("s3", "GLACIER", {"restore_tier": "Expedited"}, "5m", "DEEP_ARCHIVE", "12h", "Standard", "48h"),
    # Every archive of a vault takes four hours, and nothing in it is readable at once.
    "oas": Archive("oas", "Archive", {"restore_wait": "forever"}, "4h", "Archive", "4h", None, "4h",
                   shown=("version_id",)),
    # Nothing here is as quick as the default options want it.
    "cos": Archive("cos", "ACCELERATED", {"restore_wait": "3h"}, "2h", "GLACIER", "12h", None, "12h",
                   # A copy has the bucket's class.
                   copy_status="online"),
}


# What a vault calls the operations that tests count.
VAULT_WORDS = {"RestoreObject": "CreateJob", "GetObject": "GetJobOutput", "PutObject": "UploadArchive",
               "DeleteObject": "DeleteArchive"}


def vault(emulator):
    """The vault `bkt` in the bucket's place."""
    emulator.vault = Vault(emulator, None)
    emulator.words = VAULT_WORDS
    return emulator.vault


def s3_client(emulator):
    return boto3.client(
        "s3", endpoint_url=emulator.url, region_name="us-east-1", aws_access_key_id=emulator.ACCESS_KEY,
        aws_secret_access_key=emulator.SECRET_KEY,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}))


def put(emulator, key, content=b"content", storage_class="Standard", **state):
    """Puts an object, of any class of its dialect; or an archive, which only later mounts see. One that is readable at
    once is a restored one."""
    if hasattr(emulator, "vault"):
        emulator.vault.put(key, content, "restored" if storage_class == "Standard" else "frozen")
        return
    s3_client(emulator).put_object(Bucket="bkt", Key=key, Body=content)
    if storage_class != "Standard":
        emulator.set_object("bkt", key, **{"class": storage_class}, **state)


def set_state(emulator, key, state):
    """Puts an archived object into a state, as if somebody else had: `frozen`, `restored`."""
    if hasattr(emulator, "vault"):
        emulator.set_archive("bkt", emulator.vault.archives[key], state=state)
    else:
        emulator.set_object("bkt", key, state=state)


def count(emulator, operation, key=None):
    """How many requests of this operation the store has had."""
    requests = emulator.requests()
    if key is None:
        return requests["counts"].get(operation, 0)
    return sum(line["op"] == operation and line["key"] == key for line in requests["requests"])


def restores(emulator, key=None):
    if key and hasattr(emulator, "vault"):
        assert key in emulator.vault.archives
        return emulator.vault.retrievals(key)
    return count(emulator, "RestoreObject", key)


def thaw(emulator, key, span, path=None):
    """Advances the store's clock by `span`, once the restore of this object is under way.

    With the file's path returns when the mount has noticed: by itself it asks about a restore of hours only every few
    minutes. The path is known where the quick restore takes hours.
    """
    wait_until(lambda: is_under_way(emulator, key), f"a restore of {key}")
    paths = [path] if path else [mount.path / key for mount in patient(emulator)]
    for path in paths:
        wait_until_known(path)
    emulator.advance(span)
    look(*paths)


def is_under_way(emulator, key):
    """Whether the store is at work on a restore of the object."""
    if hasattr(emulator, "vault"):
        return emulator.vault.retrievals(key, "InProgress") > 0
    return "true" in (restore_header(emulator, key) or "")


def thaw_all(emulator, span):
    """Advances the store's clock by `span`, by which all ends that a mount waits for; see `thaw`."""
    paths = [path for mount in patient(emulator) for path in mount.path.rglob("*")
             if path.is_file() and seen(path, "restore_status") == "restoring"]
    for path in paths:
        wait_until_known(path)
    emulator.advance(span)
    look(*paths)


def patient(emulator):
    """The mounts of stores whose quick restore takes hours."""
    return [mount for mount in emulator.mounts if mount.dialect in ("cos", "oas") and is_mounted(mount.path)]


def wait_until_known(path):
    """Waits until the mount knows that the store took its restore: what it is told before, it forgets."""
    wait_until(lambda: seen(path, "restore_requested"), f"the restore of {path} to be known")


def look(*paths):
    """Has the mount look at restores until it notices their end."""
    for path in paths:
        wait_until(lambda: set_attribute(path, "refresh") is None and seen(path, "restore_status") != "restoring",
                   f"the end of {path}'s restore")


def seen(path, name):
    """As `attribute`, for many files: without a process for each."""
    try:
        return os.getxattr(path, f"user.thaw.{name}").decode()
    except OSError as error:
        assert error.errno == errno.ENODATA, error
        return None


def attribute(path, name):
    """One extended attribute as text; None when there is none."""
    done = run("getfattr", "--absolute-names", "--only-values", "-n", f"user.thaw.{name}", path)
    if done.returncode != 0:
        assert "No such attribute" in done.stderr or "No data available" in done.stderr, done.stderr
        return None
    return done.stdout


def set_attribute(path, name, value=""):
    """Runs setfattr; answers None, or what it says went wrong."""
    done = run("setfattr", "-n", f"user.thaw.{name}", "-v", value, path)
    return None if done.returncode == 0 else done.stderr.rsplit(":", 1)[1].strip()


def remove_attribute(path, name):
    """Runs `setfattr -x`; answers None, or what it says went wrong."""
    done = run("setfattr", "-x", f"user.thaw.{name}", path)
    return None if done.returncode == 0 else done.stderr.rsplit(":", 1)[1].strip()


def counts(directory):
    """What `user.thaw.restore` says of a directory, as numbers: objects, bytes, frozen, queued, …"""
    return {name: int(number) for name, number in (word.split("=") for word in attribute(directory, "restore").split())}


def restored_keys(emulator):
    """The keys of the RestoreObject requests that the store has taken, in order, with repetitions."""
    if hasattr(emulator, "vault"):
        return sorted(emulator.vault.retrieved())
    return sorted(line["key"] for line in emulator.requests()["requests"]
                  if line["op"] == "RestoreObject" and line["status"] in (200, 202))


def restore_header(emulator, key, **version):
    """What the store says of the object's restore, as boto3 hears it; None when there is none."""
    return s3_client(emulator).head_object(Bucket="bkt", Key=key, **version).get("Restore")


def restored_hours(emulator, key):
    """How long the copy lasts from now on by the store's clock, in hours."""
    expiry = email.utils.parsedate_to_datetime(re.search('expiry-date="(.*?)"', restore_header(emulator, key))[1])
    return (expiry - datetime.datetime.fromisoformat(emulator.clock()["now"])).total_seconds() / 3600


def wait_for_each_once(emulator, directory, expected):
    """Waits until the provider works on every object, and none was asked for twice."""
    wait_until(lambda: counts(directory)["restoring"] == expected, f"{expected} to be restoring", 60)
    requests = [line for line in emulator.requests()["requests"] if line["op"] == "RestoreObject"]
    # One whose reply met nobody is not among them; asked for again, it would be, with 409.
    assert {line["status"] for line in requests} == {202}
    assert len({line["key"] for line in requests}) == len(requests)
