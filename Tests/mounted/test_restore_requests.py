"""Restores asked for by name: `setfattr -n user.thaw.restore`, its wishes, its errors, and `user.thaw.refresh`."""

import datetime

import pytest

from support.archive import attribute, count, put, restores, s3_client, set_attribute, thaw
from support.mount import Mount, wait_until
from support.reader import Reader, read, run, sha256

pytestmark = pytest.mark.without("oas", why="a vault takes neither days nor tiers, and others' changes are seen later")

CONTENT = b"frozen content"
READ_BACK = ("ok", sha256(CONTENT))


def status(path):
    return attribute(path, "restore_status")


def wait_for_status(path, wanted):
    """Asks for a look at the store each time: the daemon's own schedule follows the documented times."""
    def is_wanted():
        set_attribute(path, "refresh")
        return status(path) == wanted
    wait_until(is_wanted, f"{path.name} to be {wanted}", 60)


@pytest.mark.parametrize("wish", ["", "days=2", "days=2,tier=Expedited", "tier=expedited,days=2"])
def test_a_restore_by_name_thaws_the_file(emulator, tmp_path, wish):
    put(emulator, "f", CONTENT, "GLACIER")
    with Mount(emulator, "s3://bkt", tmp_path, {"on_frozen": "refuse"}) as mount:
        file = mount.path / "f"
        assert set_attribute(file, "restore", wish) is None
        assert restores(emulator) == 1
        assert status(file) == "restoring"
        assert attribute(file, "restore_tier") == ("Expedited" if "tier" in wish else "Standard")
        emulator.advance("5m" if "tier" in wish else "5h")
        wait_for_status(file, "restored")
        assert read(file) == READ_BACK


def test_an_empty_wish_takes_the_mounts_days(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT, archive.quick)
    with archive.mount(emulator, tmp_path, restore_days=2) as mount:
        file = mount.path / "f"
        assert set_attribute(file, "restore", archive.quick_wish) is None
        thaw(emulator, "f", archive.quick_span)
        wait_for_status(file, "restored")
        left = expiry(file) - datetime.datetime.fromisoformat(emulator.clock()["now"])
        assert datetime.timedelta(hours=47) < left <= datetime.timedelta(hours=48)


def expiry(path):
    return datetime.datetime.fromisoformat(attribute(path, "restore_expiry"))


@pytest.mark.parametrize("dialect, storage_class, span", [("oss", "ColdArchive", "5h"), ("s3", "GLACIER", "5h")])
def test_a_restored_copy_is_extended(emulator, tmp_path, dialect, storage_class, span):
    put(emulator, "f", CONTENT, storage_class)
    with Mount(emulator, f"{dialect}://bkt", tmp_path) as mount:
        file = mount.path / "f"
        assert set_attribute(file, "restore", "days=1") is None
        emulator.advance(span)
        wait_for_status(file, "restored")
        before = expiry(file)
        assert set_attribute(file, "restore", "days=10") is None
        assert restores(emulator) == 2
        wait_until(lambda: expiry(file) - before > datetime.timedelta(days=8), "the later expiry")
        assert status(file) == "restored"


@pytest.mark.parametrize("dialect, storage_class, wish, error", [
    ("oss", "Standard", "", "Operation not supported"),
    ("s3", "STANDARD", "days=3", "Operation not supported"),
    ("oss", "IA", "", "Operation not supported"),
    ("oss", "Archive", "days=0", "Invalid argument"),
    ("oss", "Archive", "days=8", "Invalid argument"),
    ("oss", "Archive", "tier=Standard", "Invalid argument"),
    ("oss", "ColdArchive", "days=0", "Invalid argument"),
    ("oss", "ColdArchive", "days=366", "Invalid argument"),
    ("oss", "DeepColdArchive", "tier=Bulk", "Invalid argument"),
    ("s3", "GLACIER", "days=0", "Invalid argument"),
    ("s3", "GLACIER", "days=-1", "Invalid argument"),
    ("s3", "DEEP_ARCHIVE", "tier=Expedited", "Invalid argument"),
    ("s3", "GLACIER", "days=two", "Invalid argument"),
    ("s3", "GLACIER", "tier=Fast", "Invalid argument"),
    ("s3", "GLACIER", "weeks=2", "Invalid argument"),
    ("s3", "GLACIER", "7", "Invalid argument"),
    ("s3", "GLACIER", "days=7 tier=Bulk", "Invalid argument"),
    ("s3", "GLACIER", "days=99999999999999999999", "Invalid argument"),
    ("s3", "GLACIER", "days=1,days=2", "Invalid argument"),
    ("s3", "GLACIER", ",", "Invalid argument"),
    ("s3", "GLACIER", "days=1,", "Invalid argument"),
])
def test_a_wish_that_the_class_cannot_grant_is_refused_and_never_sent(
        emulator, tmp_path, dialect, storage_class, wish, error):
    put(emulator, "f", CONTENT, storage_class)
    with Mount(emulator, f"{dialect}://bkt", tmp_path) as mount:
        assert set_attribute(mount.path / "f", "restore", wish) == error
        assert restores(emulator) == 0
        assert "restore of f" in mount.log()


@pytest.mark.parametrize("dialect, storage_class, wish", [
    ("oss", "Archive", "days=1"), ("oss", "Archive", "days=7"), ("oss", "ColdArchive", "days=365,tier=Bulk"),
    ("oss", "ColdArchive", "tier=Expedited"), ("oss", "DeepColdArchive", "tier=Expedited"),
    ("s3", "GLACIER", "days=1000,tier=Bulk"), ("s3", "DEEP_ARCHIVE", "tier=Bulk"),
])
def test_every_wish_of_the_classes_table_is_granted(emulator, tmp_path, dialect, storage_class, wish):
    put(emulator, "f", CONTENT, storage_class)
    with Mount(emulator, f"{dialect}://bkt", tmp_path) as mount:
        assert set_attribute(mount.path / "f", "restore", wish) is None
        assert restores(emulator) == 1
        assert status(mount.path / "f") == "restoring"


@pytest.mark.parametrize("dialect, storage_class", [("oss", "ColdArchive"), ("s3", "GLACIER")])
def test_a_faster_tier_is_sent_while_a_slower_one_runs(emulator, tmp_path, dialect, storage_class):
    put(emulator, "f", CONTENT, storage_class)
    with Mount(emulator, f"{dialect}://bkt", tmp_path) as mount:
        file = mount.path / "f"
        assert set_attribute(file, "restore", "tier=Bulk") is None
        assert attribute(file, "restore_tier") == "Bulk"
        assert set_attribute(file, "restore", "tier=Expedited") is None
        assert restores(emulator) == 2
        assert attribute(file, "restore_tier") == "Expedited"
        # A slower one is no wish that anybody could grant: the restore goes on as it is.
        assert set_attribute(file, "restore", "tier=Bulk") is None
        assert restores(emulator) == 2
        assert attribute(file, "restore_tier") == "Expedited"
        emulator.advance("1h")
        wait_for_status(file, "restored")


def test_a_restore_by_name_feeds_a_reader_that_waits(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT, archive.quick)
    with archive.mount(emulator, tmp_path) as mount, Reader(mount.path / "f") as reader:
        reader.wait_until_blocked()
        assert set_attribute(mount.path / "f", "restore") is None
        assert restores(emulator) == 1
        thaw(emulator, "f", archive.quick_span)
        assert reader.result() == READ_BACK


@pytest.mark.parametrize("fault, error", [
    ({"status": 403, "code": "AccessDenied"}, "Permission denied"),
    ({"status": 500}, "Input/output error"),
])
def test_what_the_store_refuses_is_setfattrs_error(emulator, archive, tmp_path, fault, error):
    put(emulator, "f", CONTENT, archive.quick)
    emulator.fault(fault, op="RestoreObject")
    with archive.mount(emulator, tmp_path) as mount:
        assert set_attribute(mount.path / "f", "restore") == error
        assert status(mount.path / "f") == "frozen"
        assert "restore of f failed" in mount.log()


def test_a_deleted_objects_restore_says_so(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT, archive.quick)
    with archive.mount(emulator, tmp_path) as mount:
        assert status(mount.path / "f") == "frozen"
        s3_client(emulator).delete_object(Bucket="bkt", Key="f")
        assert set_attribute(mount.path / "f", "restore") == "No such file or directory"


def test_refreshing_a_file_asks_the_store_again(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT, archive.quick)
    with archive.mount(emulator, tmp_path, metadata_ttl="forever") as mount:
        file = mount.path / "f"
        assert status(file) == "frozen"
        emulator.set_object("bkt", "f", state="restored")
        assert status(file) == "frozen"
        assert set_attribute(file, "refresh") is None
        assert status(file) == "restored"
        assert restores(emulator) == 0


def test_refreshing_a_directory_shows_what_came_meanwhile(emulator, archive, tmp_path):
    put(emulator, "d/a", CONTENT)
    with archive.mount(emulator, tmp_path, metadata_ttl="forever") as mount:
        assert run("ls", mount.path / "d").stdout.split() == ["a"]
        put(emulator, "d/b", CONTENT)
        assert run("ls", mount.path / "d").stdout.split() == ["a"]
        assert set_attribute(mount.path / "d", "refresh") is None
        assert run("ls", mount.path / "d").stdout.split() == ["a", "b"]


def test_a_hundred_wishes_for_one_file_are_one_request(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT, archive.quick)
    with archive.mount(emulator, tmp_path) as mount:
        done = run("sh", "-c", 'for i in $(seq 100); do setfattr -n user.thaw.restore "$1" & done; wait', "sh",
                   mount.path / "f")
        assert done.stderr == ""
        assert restores(emulator) == 1
        assert count(emulator, "GetObject") == 0


def test_more_days_wished_for_during_a_restore_are_kept_until_the_copy_is_there(emulator, tmp_path):
    put(emulator, "f", CONTENT, "GLACIER")
    with Mount(emulator, "s3://bkt", tmp_path) as mount:
        file = mount.path / "f"
        assert set_attribute(file, "restore", "days=1,tier=Expedited") is None
        assert set_attribute(file, "restore", "days=30,tier=Expedited") is None
        assert restores(emulator) == 1
        # The wish outlives the daemon.
        mount.kill()
        with mount:
            emulator.advance("5m")
            wait_until(lambda: restores(emulator) == 2, "more days to be asked for")
            wait_for_status(file, "restored")
            expiry = datetime.datetime.fromisoformat(attribute(file, "restore_expiry").replace("Z", "+00:00"))
            now = datetime.datetime.fromisoformat(emulator.clock()["now"].replace("Z", "+00:00"))
            assert expiry - now > datetime.timedelta(days=29)
