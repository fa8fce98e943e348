"""The dialects side by side: what a test of frozen objects needs to know of each."""

import dataclasses
import datetime
import email.utils
import re

import boto3
from botocore.config import Config

from .mount import Mount, wait_until
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

    @property
    def source(self):
        return f"{self.dialect}://bkt"

    @property
    def quick_wish(self):
        """The wish by name that takes `quick_span`."""
        return f"tier={self.quick_options['restore_tier']}" if "restore_tier" in self.quick_options else ""

    def told(self, path):
        """The path, for `thaw`, where the quick restore takes hours: those are looked at every few minutes only."""
        return path if self.dialect == "cos" else None

    def mount(self, emulator, directory, **options):
        """A mount whose reads wait for objects of the quick class."""
        mount = Mount(emulator, self.source, directory, self.quick_options | options)
        if self.dialect == "oas":
            vault(emulator).mounted = mount
        return mount


ARCHIVES = {
    "oss": Archive("oss", "Archive", {}, "1m", "ColdArchive", "5h"),
    "s3": Archive("s3", "GLACIER", {"restore_tier": "Expedited"}, "5m", "DEEP_ARCHIVE", "12h"),
    # Every archive of a vault takes four hours, and nothing in it is readable at once.
    "oas": Archive("oas", "OAS", {"restore_wait": "forever"}, "4h", "OAS", "4h"),
    # Nothing here is as quick as the default options want it.
    "cos": Archive("cos", "ACCELERATED", {"restore_wait": "3h"}, "2h", "GLACIER", "12h"),
}


def vault(emulator):
    """The vault `bkt`, created if there is none."""
    if not hasattr(emulator, "vault"):
        emulator.vault = Vault(emulator, None)
    return emulator.vault


def s3_client(emulator):
    return boto3.client(
        "s3", endpoint_url=emulator.url, region_name="us-east-1", aws_access_key_id=emulator.ACCESS_KEY,
        aws_secret_access_key=emulator.SECRET_KEY,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}))


def put(emulator, key, content=b"content", storage_class="Standard", **state):
    """Puts an object, of any class of either dialect; or an archive, which only later mounts see."""
    if storage_class == "OAS":
        vault(emulator).put(key, content)
        return
    s3_client(emulator).put_object(Bucket="bkt", Key=key, Body=content)
    if storage_class != "Standard":
        emulator.set_object("bkt", key, **{"class": storage_class}, **state)


def count(emulator, operation, key=None):
    """How many requests of this operation the store has had."""
    requests = emulator.requests()
    if key is None:
        return requests["counts"].get(operation, 0)
    return sum(line["op"] == operation and line["key"] == key for line in requests["requests"])


def restores(emulator, key=None):
    if hasattr(emulator, "vault"):
        assert key is None or key in emulator.vault.archives
        return emulator.vault.retrievals(key) if key else count(emulator, "CreateJob")
    return count(emulator, "RestoreObject", key)


def thaw(emulator, key, span, path=None):
    """Advances the store's clock by `span`, once the restore of this object is under way.

    With the file's path the mount is told to look: by itself it asks about a restore of hours only every few minutes.
    """
    if hasattr(emulator, "vault"):
        return thaw_archive(emulator.vault, key, path or emulator.vault.mounted.path / key, span)
    client = s3_client(emulator)
    wait_until(lambda: "true" in client.head_object(Bucket="bkt", Key=key).get("Restore", ""), f"a restore of {key}")
    emulator.advance(span)
    if path:
        assert set_attribute(path, "refresh") is None


def thaw_archive(vault, key, path, span="4h"):
    """As `thaw`; returns when the mount has noticed, which by itself asks about a job every half an hour only."""
    wait_until(lambda: vault.retrievals(key, "InProgress") > 0, f"a retrieval of {key}", 60)
    vault.emulator.advance(span)
    wait_until(lambda: set_attribute(path, "refresh") is None and attribute(path, "restore_status") == "restored",
               f"{path} to be restored", 60)


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
