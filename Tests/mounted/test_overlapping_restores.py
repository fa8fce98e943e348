"""Wishes for the same objects, from readers and by name, of files and directories, while the objects change."""

import pytest

from support.archive import (
    attribute, counts, put, restored_hours, restored_keys, restores, s3_client, set_attribute, thaw_all)
from support.mount import wait_until
from support.reader import Reader, read, sha256

pytestmark = pytest.mark.without("oas", why="a vault takes no days, and what others do to it is seen later")

CONTENT = bytes(1000)
READ_BACK = ("ok", sha256(CONTENT))
KEYS = ["d/1", "d/2", "d/e/3"]


@pytest.fixture
def tree(emulator, archive):
    for key in KEYS:
        put(emulator, key, CONTENT, archive.quick)


def restore(path, *wishes):
    assert set_attribute(path, "restore", ",".join(wish for wish in wishes if wish)) is None


def wait_for_counts(directory, **expected):
    def found():
        return {name: number for name, number in counts(directory).items() if name in expected}
    wait_until(lambda: found() == expected, f"{expected}", 60)


def test_directories_within_each_other_are_restored_once(emulator, archive, tmp_path, tree):
    with archive.mount(emulator, tmp_path) as mount:
        for directory in ("d/e", "d", ".", "d", "d/e"):
            restore(mount.path / directory, archive.quick_wish)
        wait_for_counts(mount.path, restoring=3, queued=0)
        thaw_all(emulator, archive.quick_span)
        wait_for_counts(mount.path, restored=3)
        # There is nothing left to wish for.
        restore(mount.path, archive.quick_wish)
        restore(mount.path / "d/e/3", archive.quick_wish)
        put(emulator, "witness/f", CONTENT, archive.quick)
        assert set_attribute(mount.path, "refresh") is None
        restore(mount.path / "witness", archive.quick_wish)
        wait_until(lambda: restores(emulator, "witness/f") == 1, "the witness")
        assert restored_keys(emulator) == [*KEYS, "witness/f"]


def test_readers_and_their_directory_ask_once(emulator, archive, tmp_path, tree):
    with archive.mount(emulator, tmp_path) as mount:
        with Reader(mount.path / "d/1") as before:
            before.wait_until_blocked()
            wait_until(lambda: restores(emulator) == 1, "the reader's request")
            restore(mount.path / "d", archive.quick_wish)
            wait_for_counts(mount.path / "d", restoring=3)
            with Reader(mount.path / "d/e/3") as after:
                after.wait_until_blocked()
                thaw_all(emulator, archive.quick_span)
                assert before.result() == after.result() == READ_BACK
        assert restored_keys(emulator) == KEYS


def test_more_days_for_a_wider_directory_are_kept_until_the_copies_are_there(emulator, archive, tmp_path, tree):
    with archive.mount(emulator, tmp_path) as mount:
        restore(mount.path / "d/e", "days=1", archive.quick_wish)
        wait_for_counts(mount.path / "d/e", restoring=1)
        restore(mount.path / "d", "days=5", archive.quick_wish)
        wait_for_counts(mount.path / "d", restoring=3)
        assert restored_keys(emulator) == KEYS
        thaw_all(emulator, archive.quick_span)
        # The one that was asked for with fewer days is asked for again.
        wait_until(lambda: restores(emulator, "d/e/3") == 2, "the extension", 60)
        wait_for_counts(mount.path / "d", restored=3)
        for key in KEYS:
            assert 119 < restored_hours(emulator, key) <= 120, key
        assert restored_keys(emulator) == sorted(KEYS + ["d/e/3"])


@pytest.mark.without("cos", why="no listing tells of a restore: it would take thousands of HEADs")
def test_a_reader_does_not_wait_behind_a_large_directory(emulator, archive, tmp_path):
    emulator.seed("bkt", count=1000, size=10, prefix="d/", storage_class=archive.quick)
    emulator.fault({"status": 503, "retry_after": 5}, op="RestoreObject")
    with archive.mount(emulator, tmp_path) as mount:
        restore(mount.path / "d", archive.quick_wish)
        wait_for_counts(mount.path / "d", queued=1000)
        with Reader(mount.path / "d/00000999") as reader:
            reader.wait_until_blocked()
            emulator.clear_faults()
            emulator.clear_requests()
            wait_until(lambda: restores(emulator, "d/00000999") == 1, "the reader's request", 60)
            sent = [line["key"] for line in emulator.requests()["requests"] if line["op"] == "RestoreObject"]
            assert sent.index("d/00000999") < 100
            wait_for_counts(mount.path / "d", queued=0, restoring=1000)
            thaw_all(emulator, archive.quick_span)
            assert reader.result()[0] == "ok"


def test_what_is_overwritten_or_deleted_while_it_is_queued_holds_up_nothing(emulator, archive, tmp_path, tree):
    emulator.fault({"status": 503, "retry_after": 3}, op="RestoreObject")
    with archive.mount(emulator, tmp_path) as mount:
        restore(mount.path / "d", archive.quick_wish)
        wait_for_counts(mount.path / "d", queued=3)
        put(emulator, "d/1", b"new")
        s3_client(emulator).delete_object(Bucket="bkt", Key="d/2")
        emulator.clear_faults()
        wait_for_counts(mount.path / "d", objects=2, queued=0, restoring=1, failed=0)
        thaw_all(emulator, archive.quick_span)
        wait_for_counts(mount.path / "d", restored=1)
        assert set_attribute(mount.path / "d", "refresh") is None
        assert read(mount.path / "d/1") == ("ok", sha256(b"new"))
        assert read(mount.path / "d/2") == ("open", "ENOENT")
        assert read(mount.path / "d/e/3") == READ_BACK
        assert restored_keys(emulator) == ["d/e/3"]


def test_what_is_overwritten_while_it_is_restored_holds_up_nothing(emulator, archive, tmp_path, tree):
    with archive.mount(emulator, tmp_path) as mount:
        restore(mount.path / "d", archive.quick_wish)
        wait_for_counts(mount.path / "d", restoring=3)
        # Frozen again in a new version, for which nobody has asked.
        put(emulator, "d/1", b"new", archive.quick)
        put(emulator, "d/2", b"new")
        thaw_all(emulator, archive.quick_span)
        wait_for_counts(mount.path / "d", restored=1, restoring=0, queued=0)
        assert set_attribute(mount.path / "d", "refresh") is None
        assert read(mount.path / "d/2") == ("ok", sha256(b"new"))
        assert attribute(mount.path / "d/1", "restore_status") == "frozen"
        with Reader(mount.path / "d/1") as reader:
            wait_until(lambda: restores(emulator, "d/1") == 2, "the new version's restore")
            thaw_all(emulator, archive.quick_span)
            assert reader.result() == ("ok", sha256(b"new"))


@pytest.mark.without("cos", why="its lane gets too slow for so many refusals")
def test_a_store_that_goes_on_refusing_is_told_of_once(emulator, archive, tmp_path):
    emulator.seed("bkt", count=200, size=10, prefix="d/", storage_class=archive.quick)
    emulator.fault({"status": 503}, op="RestoreObject")
    with archive.mount(emulator, tmp_path) as mount:
        restore(mount.path / "d")
        wait_until(lambda: "slow down" in mount.log(), "the first refusals")
        before = restores(emulator)
        wait_until(lambda: restores(emulator) >= before + 40, "many more refusals", 60)
        assert mount.log().count("slow down") == 1, mount.log()
