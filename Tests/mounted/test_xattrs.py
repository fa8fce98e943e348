"""The extended attributes of files in each state, what cannot be set, and that copying them does no harm."""

import datetime
import errno
import os
import re

import pytest

from support.archive import attribute, put, restores, s3_client, set_attribute, thaw
from support.mount import Mount, wait_until
from support.reader import Reader, run

CONTENT = b"content of a file"
ALWAYS = ["storage_class", "restore_status", "etag", "key"]
RESTORED = ["storage_class", "restore_status", "restore_expiry", "etag", "key"]
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def listed(path):
    """The names that `getfattr -d` shows, in its order, without their prefix."""
    done = run("getfattr", "--absolute-names", "-d", path)
    assert done.returncode == 0, done.stderr
    return [line.split("=")[0].removeprefix("user.thaw.") for line in done.stdout.splitlines() if "=" in line]


def moment(text):
    assert RFC_3339.fullmatch(text), text
    return datetime.datetime.fromisoformat(text)


@pytest.mark.without("oas", why="nothing in a vault is online")
def test_a_hot_file_says_what_it_is(emulator, archive, tmp_path):
    put(emulator, "d/f", CONTENT)
    with archive.mount(emulator, tmp_path) as mount:
        file = mount.path / "d/f"
        assert sorted(listed(file)) == sorted(ALWAYS)
        assert attribute(file, "storage_class") == archive.standard
        assert attribute(file, "restore_status") == "online"
        assert attribute(file, "key") == "d/f"
        etag = s3_client(emulator).head_object(Bucket="bkt", Key="d/f")["ETag"]
        assert attribute(file, "etag").strip('"').lower() == etag.strip('"').lower()


def test_a_frozen_file_says_so_and_has_no_dates(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT, archive.quick)
    with archive.mount(emulator, tmp_path) as mount:
        assert sorted(listed(mount.path / "f")) == sorted([*ALWAYS, *archive.shown])
        assert attribute(mount.path / "f", "storage_class") == archive.quick
        assert attribute(mount.path / "f", "restore_status") == "frozen"


@pytest.mark.parametrize("dialect, storage_class, tier, hours", [
    ("oss", "Archive", None, 1 / 60), ("oss", "ColdArchive", "Bulk", 12), ("s3", "GLACIER", "Expedited", 1 / 12),
    ("s3", "DEEP_ARCHIVE", "Standard", 12),
])
def test_a_restoring_file_says_since_when_and_until_when(emulator, tmp_path, dialect, storage_class, tier, hours):
    put(emulator, "f", CONTENT, storage_class)
    with Mount(emulator, f"{dialect}://bkt", tmp_path) as mount:
        file = mount.path / "f"
        before = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=2)
        assert set_attribute(file, "restore", f"tier={tier}" if tier else "") is None
        names = ALWAYS + ["restore_requested", "restore_eta"] + (["restore_tier"] if tier else [])
        assert sorted(listed(file)) == sorted(names)
        assert attribute(file, "restore_status") == "restoring"
        assert attribute(file, "restore_tier") == tier
        requested = moment(attribute(file, "restore_requested"))
        assert before <= requested <= datetime.datetime.now(datetime.timezone.utc)
        assert moment(attribute(file, "restore_eta")) - requested == datetime.timedelta(hours=hours)


@pytest.mark.without("oas", why="a retrieval lasts for 24 hours")
def test_a_restored_file_says_until_when(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT, archive.quick)
    emulator.set_object("bkt", "f", state="restored", **{"for": "2d"})
    with archive.mount(emulator, tmp_path) as mount:
        file = mount.path / "f"
        assert sorted(listed(file)) == sorted(RESTORED)
        assert attribute(file, "restore_status") == "restored"
        assert attribute(file, "storage_class") == archive.quick
        left = moment(attribute(file, "restore_expiry")) - datetime.datetime.now(datetime.timezone.utc)
        assert datetime.timedelta(hours=47) < left < datetime.timedelta(hours=49)


@pytest.mark.without("oas", why="a mount does not see the jobs that others began")
def test_a_restore_that_somebody_else_started_shows_no_dates_that_nobody_knows(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT, archive.quick)
    emulator.set_object("bkt", "f", state="restoring")
    with archive.mount(emulator, tmp_path) as mount:
        assert attribute(mount.path / "f", "restore_status") == "restoring"
        assert sorted(listed(mount.path / "f")) == sorted(ALWAYS)


def test_a_version_id_is_shown_to_whoever_asks_for_it(emulator, tmp_path):
    client = s3_client(emulator)
    client.put_bucket_versioning(Bucket="bkt", VersioningConfiguration={"Status": "Enabled"})
    version = client.put_object(Bucket="bkt", Key="f", Body=CONTENT)["VersionId"]
    with Mount(emulator, "s3://bkt", tmp_path) as mount:
        # A listing does not have it; a HEAD does.
        assert attribute(mount.path / "f", "version_id") == version


@pytest.mark.parametrize("state", ["Standard", "frozen"])
def test_shown_attributes_cannot_be_set(emulator, archive, tmp_path, state):
    put(emulator, "f", CONTENT, archive.quick if state == "frozen" else "Standard")
    with archive.mount(emulator, tmp_path) as mount:
        file = mount.path / "f"
        for name in ["storage_class", "restore_status", "restore_expiry", "restore_tier", "restore_requested",
                     "restore_eta", "etag", "key", "version_id", "nonsense"]:
            assert set_attribute(file, name, "x") == "Operation not supported", name
        assert restores(emulator) == 0


def test_attributes_cannot_be_removed(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT, archive.quick)
    with archive.mount(emulator, tmp_path) as mount:
        for name in ("user.thaw.etag", "user.thaw.key"):
            # `rsync -X` takes away what its source does not have; it comes back.
            assert run("setfattr", "-x", name, mount.path / "f").returncode == 0
            assert name in os.listxattr(mount.path / "f")
        for name, error in [("user.thaw.nonsense", "Operation not supported"),
                            # No restore was asked for: there is nothing to take back.
                            ("user.thaw.restore", "No such attribute")]:
            done = run("setfattr", "-x", name, mount.path / "f")
            assert done.returncode != 0 and error in done.stderr, (name, done.stderr)
        assert restores(emulator) == 0


@pytest.mark.without("oas", why="nothing in a vault is online")
def test_unknown_and_command_attributes_read_as_absent(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT)
    with archive.mount(emulator, tmp_path) as mount:
        for name in ["nonsense", "restore", "refresh", "restore_expiry", "restore_tier"]:
            assert attribute(mount.path / "f", name) is None, name
        done = run("getfattr", "-n", "user.other", mount.path / "f")
        assert done.returncode != 0 and "No such attribute" in done.stderr


def test_attributes_of_other_namespaces_are_unsupported(emulator, archive, tmp_path):
    # `ls -l` then asks once for each mount, and not for each file.
    put(emulator, "f", CONTENT)
    with archive.mount(emulator, tmp_path) as mount:
        for name in ["security.selinux", "security.capability", "system.posix_acl_access", "trusted.other"]:
            with pytest.raises(OSError) as caught:
                os.getxattr(mount.path / "f", name)
            assert caught.value.errno == errno.EOPNOTSUPP, name


def test_commands_are_never_listed(emulator, archive, tmp_path):
    put(emulator, "d/f", CONTENT, archive.quick)
    with archive.mount(emulator, tmp_path) as mount:
        shown = run("getfattr", "-R", "-d", "-m", "-", "--absolute-names", mount.path).stdout
        assert "user.thaw.restore_status" in shown
        assert not re.search(r"^user\.thaw\.(restore|refresh)(=|$)", shown, re.MULTILINE)


def test_copying_attributes_back_onto_the_mount_is_refused_calmly(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT)
    put(emulator, "g", CONTENT, archive.quick)
    with archive.mount(emulator, tmp_path) as mount:
        dump = run("getfattr", "--absolute-names", "-d", mount.path / "g").stdout
        done = run("setfattr", "--restore=-", input=dump, stdin=None)
        assert done.returncode != 0 and "Operation not supported" in done.stderr
        assert restores(emulator) == 0


@pytest.mark.parametrize("command", [["cp", "-a"], ["rsync", "-aX"], ["cp", "--preserve=all"]], ids=" ".join)
def test_a_hot_tree_is_copied_with_its_attributes(emulator, archive, tmp_path, command):
    put(emulator, "d/f", CONTENT)
    put(emulator, "d/e/g", CONTENT * 2)
    target = tmp_path / "copy"
    target.mkdir()
    with archive.mount(emulator, tmp_path) as mount:
        done = run(*command, *(["-r"] if command[0] == "cp" else []), mount.path / "d", target)
        assert done.returncode == 0, done.stderr
    assert (target / "d/f").read_bytes() == CONTENT
    assert (target / "d/e/g").read_bytes() == CONTENT * 2


def test_status_follows_the_restore_from_frozen_to_restored(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT, archive.quick)
    with archive.mount(emulator, tmp_path) as mount, Reader(mount.path / "f") as reader:
        file = mount.path / "f"
        reader.wait_until_blocked()
        wait_until(lambda: attribute(file, "restore_status") == "restoring", "the restore to be shown")
        thaw(emulator, "f", archive.quick_span)
        assert reader.result()[0] == "ok"
        wait_until(lambda: attribute(file, "restore_status") == "restored", "the new status")
        assert "restore_expiry" in listed(file)
        assert "restore_eta" not in listed(file)
