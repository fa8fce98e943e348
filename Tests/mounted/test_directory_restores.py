"""Restores of whole directories: `setfattr -n user.thaw.restore` on one, what is asked for, and what its counts say."""

import pytest

from support.archive import (
    attribute, count, counts, put, remove_attribute, restore_header, restored_hours, restored_keys, restores,
    s3_client, set_attribute, thaw_all, wait_for_each_once)
from support.mount import wait_until
from support.objects import Objects
from support.reader import Reader, read

pytestmark = pytest.mark.without("oas", why="days, versions and whole buckets; test_vaults restores a directory")

CONTENT = bytes(1000)
HOUR = 3600
NOTHING = {"queued": 0, "restoring": 0, "restored": 0, "failed": 0}


def restore(directory, wish=""):
    assert set_attribute(directory, "restore", wish) is None


def wait_for_restores(emulator, keys):
    """Waits until the store has taken a request for each of these keys, and for no other."""
    wait_until(lambda: len(restored_keys(emulator)) >= len(keys), f"{len(keys)} restores", 60)
    assert restored_keys(emulator) == sorted(keys)


# What becomes of days=10,tier=Bulk: the seconds until the copy is there, which tell the tier, and its days.
GRANTED = {
    "oss": {"Archive": (60, 7), "ColdArchive": (12 * HOUR, 10), "DeepColdArchive": (48 * HOUR, 10)},
    "s3": {"GLACIER": (12 * HOUR, 10), "DEEP_ARCHIVE": (48 * HOUR, 10)},
    "cos": {"ACCELERATED": (2 * HOUR, 10), "GLACIER": (12 * HOUR, 10)},
}
ONLINE = {"oss": ["Standard", "IA"], "s3": ["STANDARD", "STANDARD_IA"], "cos": ["STANDARD"]}


def test_days_and_tier_are_brought_within_what_each_class_takes(emulator, archive, tmp_path):
    emulator.set_scale(0)
    granted = GRANTED[archive.dialect]
    for storage_class in [*granted, *ONLINE[archive.dialect]]:
        put(emulator, f"d/{storage_class}", CONTENT, storage_class)
    with archive.mount(emulator, tmp_path) as mount:
        restore(mount.path / "d", "days=10,tier=Bulk")
        wait_for_restores(emulator, [f"d/{storage_class}" for storage_class in granted])
        elapsed = 0
        for storage_class, (seconds, days) in granted.items():
            key = f"d/{storage_class}"
            emulator.advance(f"{seconds - elapsed - 1}s")
            assert "true" in restore_header(emulator, key), "a faster tier than asked for"
            emulator.advance("1s")
            assert days * 24 - 0.1 < restored_hours(emulator, key) <= days * 24
            elapsed = seconds


def test_a_copy_is_extended_only_if_it_then_lasts_longer(emulator, archive, tmp_path):
    emulator.set_scale(0)
    for key in ("d/frozen", "d/long", "d/short"):
        put(emulator, key, CONTENT, archive.slow)
    emulator.set_object("bkt", "d/long", state="restored", **{"for": "20d"})
    emulator.set_object("bkt", "d/short", state="restored", **{"for": "1d"})
    with archive.mount(emulator, tmp_path) as mount:
        restore(mount.path / "d", "days=10")
        wait_for_restores(emulator, ["d/frozen", "d/short"])
        assert round(restored_hours(emulator, "d/short")) == 10 * 24
        assert round(restored_hours(emulator, "d/long")) == 20 * 24
        assert restores(emulator) == 2


def test_a_restore_that_somebody_else_started_is_joined(emulator, archive, tmp_path):
    for key in ("d/ours", "d/theirs"):
        put(emulator, key, CONTENT, archive.quick)
    emulator.set_object("bkt", "d/theirs", state="restoring", **{"for": "3h"})
    with archive.mount(emulator, tmp_path) as mount:
        # For no longer than theirs: that would be asked for in the end.
        restore(mount.path / "d", ",".join(filter(None, ["days=1", archive.quick_wish])))
        wait_for_restores(emulator, ["d/ours"])
        wait_until(lambda: counts(mount.path / "d")["restoring"] == 2, "both to be restoring")
        thaw_all(emulator, "3h")
        wait_until(lambda: counts(mount.path / "d")["restored"] == 2, "both to be restored", 60)
        assert restored_keys(emulator) == ["d/ours"]


# Keys that make names which are escaped, or that look like the directory's without being below it.
BELOW = ["d/a/b/c/f", "d//x", "d//", "d/./y", "d/../z", "d/%41", "d/é", "d/ ", "d/new\nline", "d/sub", "d/sub/f",
         "d/" + 300 * "n"]
BESIDE = ["d", "d-f", "d0", "d2/f", "D/f", "e/d/f"]


def test_all_below_a_directory_is_restored_and_nothing_beside_it(emulator, archive, tmp_path):
    objects = Objects(emulator)
    for key in BELOW + BESIDE:
        objects.put(key, CONTENT)
        emulator.set_object("bkt", key, **{"class": archive.quick})
    with archive.mount(emulator, tmp_path) as mount:
        restore(mount.path / "d/%~")
        wait_for_restores(emulator, ["d//", "d//x"])
        restore(mount.path / "d")
        wait_for_restores(emulator, BELOW)
        assert counts(mount.path / "d")["objects"] == len(BELOW)


def test_older_versions_and_deleted_objects_are_left_alone(emulator, archive, tmp_path):
    client = s3_client(emulator)
    client.put_bucket_versioning(Bucket="bkt", VersioningConfiguration={"Status": "Enabled"})
    versions = {}
    for key in ("d/f", "d/deleted"):
        for turn in ("old", "new"):
            versions[key, turn] = client.put_object(Bucket="bkt", Key=key, Body=turn)["VersionId"]
            emulator.set_object("bkt", key, version=versions[key, turn], **{"class": archive.quick})
    client.delete_object(Bucket="bkt", Key="d/deleted")
    with archive.mount(emulator, tmp_path) as mount:
        restore(mount.path / "d")
        wait_for_restores(emulator, ["d/f"])
        assert counts(mount.path / "d")["objects"] == 1
    assert "true" in restore_header(emulator, "d/f", VersionId=versions["d/f", "new"])
    for key, turn in [("d/f", "old"), ("d/deleted", "old"), ("d/deleted", "new")]:
        assert restore_header(emulator, key, VersionId=versions[key, turn]) is None


def test_the_root_of_a_mount_is_all_of_its_prefix(emulator, archive, mounting):
    keys = ["p/a", "p/q/b", "c", "q/d"]
    for key in keys:
        put(emulator, key, CONTENT, archive.quick)
    with mounting("p") as mount:
        restore(mount.path)
        wait_for_restores(emulator, ["p/a", "p/q/b"])
    with mounting() as mount:
        restore(mount.path)
        wait_for_restores(emulator, keys)
        assert counts(mount.path)["restoring"] == 4


def test_a_directory_without_frozen_objects_has_nothing_to_restore(emulator, archive, tmp_path):
    Objects(emulator).put("empty/")
    put(emulator, "online/f", CONTENT)
    with archive.mount(emulator, tmp_path) as mount:
        for directory in ("empty", "online", "."):
            restore(mount.path / directory)
            found = counts(mount.path / directory)
            assert {name: found[name] for name in NOTHING} == NOTHING and found["frozen"] == 0
        assert restores(emulator) == 0


def test_what_a_directory_is_asked_must_parse(emulator, archive, tmp_path):
    put(emulator, "d/f", CONTENT, archive.quick)
    with archive.mount(emulator, tmp_path) as mount:
        for wish in ("days=0", "days=x", "tier=Fast", "weeks=1", "days=1,days=2"):
            assert set_attribute(mount.path / "d", "restore", wish) == "Invalid argument", wish
        assert restores(emulator) == 0


def test_a_directorys_counts_follow_its_objects(emulator, archive, tmp_path):
    for key in ("d/1", "d/2", "d/e/3", "d/e/f/4"):
        put(emulator, key, CONTENT, archive.quick)
    put(emulator, "d/online", CONTENT)
    total = {"objects": 5, "bytes": 5000}
    with archive.mount(emulator, tmp_path) as mount:
        directory = mount.path / "d"

        def wait_for_counts(**expected):
            wanted = total | NOTHING | {"frozen": 0} | expected
            wait_until(lambda: counts(directory) == wanted, f"the counts {wanted}, not {counts(directory)}", 60)

        wait_for_counts(frozen=4)
        emulator.fault({"status": 503}, op="RestoreObject")
        restore(directory, archive.quick_wish)
        wait_for_counts(queued=4)
        emulator.clear_faults()
        wait_for_counts(restoring=4)
        thaw_all(emulator, archive.quick_span)
        wait_for_counts(restored=4)
        assert counts(directory / "e") == NOTHING | {"objects": 2, "bytes": 2000, "frozen": 0, "restored": 2}
        assert attribute(directory / "e/3", "restore_status") == "restored"


def test_one_object_that_fails_does_not_hold_up_the_others(emulator, archive, tmp_path):
    for key in ("d/1", "d/2", "d/3"):
        put(emulator, key, CONTENT, archive.quick)
    emulator.fault({"status": 403, "code": "AccessDenied"}, op="RestoreObject", key="d/2")
    with archive.mount(emulator, tmp_path) as mount:
        directory = mount.path / "d"
        restore(directory)
        wait_until(lambda: (counts(directory)["restoring"], counts(directory)["failed"]) == (2, 1), "the counts")
        lines = [line for line in mount.log().splitlines() if "d/2" in line and "AccessDenied" in line]
        assert len(lines) == 1 and "request" in lines[0], mount.log()
        emulator.clear_faults()
        restore(directory)
        wait_for_restores(emulator, ["d/1", "d/2", "d/3"])
        wait_until(lambda: counts(directory)["failed"] == 0, "the failure to be forgotten")


def queue_ten(emulator, archive, mount):
    """Has ten objects below `d` queued, that the store will not take yet."""
    restore(mount.path / "d")
    wait_until(lambda: restores(emulator) == 10 and "slow down" in mount.log(), "all to be refused")
    wait_until(lambda: counts(mount.path / "d")["queued"] == 10, "all to be queued")


@pytest.fixture
def ten(emulator, archive):
    emulator.seed("bkt", count=10, size=10, prefix="d/", storage_class=archive.quick)
    put(emulator, "witness/f", CONTENT, archive.quick)
    emulator.fault({"status": 503, "retry_after": 5}, op="RestoreObject")


def test_a_cancelled_directory_drops_what_is_queued_and_fails_its_readers(emulator, archive, tmp_path, ten):
    with archive.mount(emulator, tmp_path) as mount:
        queue_ten(emulator, archive, mount)
        with Reader(mount.path / "d/00000007") as reader:
            reader.wait_until_blocked()
            assert remove_attribute(mount.path / "d", "restore") is None
            assert reader.result() == ("read", "ECANCELED")
        emulator.clear_faults()
        # What was dropped would have gone before this one.
        restore(mount.path / "witness")
        wait_for_restores(emulator, ["witness/f"])
        expected = NOTHING | {"objects": 10, "bytes": 100, "frozen": 10}
        wait_until(lambda: counts(mount.path / "d") == expected, "the counts")


def test_a_cancelled_directory_stays_cancelled_after_a_crash(emulator, archive, tmp_path, ten):
    mount = archive.mount(emulator, tmp_path)
    with mount:
        queue_ten(emulator, archive, mount)
        assert remove_attribute(mount.path / "d", "restore") is None
        mount.kill()
    emulator.clear_faults()
    with mount:
        restore(mount.path / "witness")
        wait_for_restores(emulator, ["witness/f"])


def test_a_cancelled_directory_drops_what_is_being_asked_for_and_refused(emulator, archive, tmp_path):
    emulator.seed("bkt", count=10, size=10, prefix="d/", storage_class=archive.quick)
    put(emulator, "witness/f", CONTENT, archive.quick)
    emulator.fault({"status": 503, "latency_ms": 5000}, op="RestoreObject")
    with archive.mount(emulator, tmp_path) as mount:
        restore(mount.path / "d")
        wait_until(lambda: counts(mount.path / "d")["queued"] == 10, "all to be queued")
        assert restores(emulator) == 0, "refused already"
        assert remove_attribute(mount.path / "d", "restore") is None
        # At once: what the command did shows.
        assert counts(mount.path / "d") == NOTHING | {"objects": 10, "bytes": 100, "frozen": 10}
        wait_until(lambda: restores(emulator) > 0, "the refusals")
        emulator.clear_faults()
        restore(mount.path / "witness")
        wait_for_restores(emulator, ["witness/f"])


def test_a_daemon_killed_while_it_submits_forgets_nothing_and_asks_nothing_twice(emulator, archive, tmp_path):
    emulator.seed("bkt", count=300, size=10, prefix="d/", storage_class=archive.slow)
    emulator.fault({"latency_ms": 300}, op="RestoreObject")
    mount = archive.mount(emulator, tmp_path)
    with mount:
        restore(mount.path / "d")
        wait_until(lambda: restores(emulator) >= 20, "some requests")
        mount.kill()
    assert restores(emulator) < 300
    emulator.clear_faults()
    with mount:
        wait_for_each_once(emulator, mount.path / "d", 300)


@pytest.mark.without("cos", why="no listing tells of a restore: it would take thousands of HEADs")
def test_a_daemon_killed_while_it_lists_a_directory_forgets_nothing(emulator, archive, tmp_path):
    emulator.seed("bkt", count=3000, size=10, prefix="d/", storage_class=archive.slow)
    mount = archive.mount(emulator, tmp_path)
    with mount:
        assert attribute(mount.path / "d", "key") == "d/"
        emulator.fault({"latency_ms": 1000}, method="GET", key="")
        restore(mount.path / "d")
        mount.kill()
    assert restores(emulator) < 3000
    emulator.clear_faults()
    with mount:
        wait_for_each_once(emulator, mount.path / "d", 3000)


@pytest.mark.without("cos", why="no listing tells of a restore: each object is looked at by itself")
def test_thousands_of_objects_are_asked_for_once_and_watched_by_listing(emulator, archive, tmp_path):
    emulator.seed("bkt", count=3000, size=10, prefix="d/", storage_class=archive.quick)
    with archive.mount(emulator, tmp_path) as mount:
        restore(mount.path / "d", archive.quick_wish)
        wait_for_each_once(emulator, mount.path / "d", 3000)
        thaw_all(emulator, archive.quick_span)
        wait_until(lambda: counts(mount.path / "d")["restored"] == 3000, "all to be restored", 60)
        assert count(emulator, "HeadObject") < 30
        assert read(mount.path / "d/00001234")[0] == "ok"
        assert restores(emulator) == 3000


@pytest.mark.without("cos", why="its lane gets too slow for so many refusals")
@pytest.mark.parametrize("status", [429, 503])
def test_a_store_that_asks_to_slow_down_gets_all_requests_in_the_end(emulator, archive, tmp_path, status):
    emulator.seed("bkt", count=200, size=10, prefix="d/", storage_class=archive.quick)
    emulator.fault({"status": status}, op="RestoreObject", times=60)
    with archive.mount(emulator, tmp_path) as mount:
        restore(mount.path / "d")
        wait_until(lambda: len(restored_keys(emulator)) == 200, "all restores", 60)
        assert len(set(restored_keys(emulator))) == 200
        wait_until(lambda: counts(mount.path / "d")["restoring"] == 200, "all to be restoring")
        assert 1 <= sum("slow down" in line for line in mount.log().splitlines()) <= 5, mount.log()
