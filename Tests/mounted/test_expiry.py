"""Restored copies and their end: under a reader in the middle of a large file, and put off while a file is open."""

import os

import pytest

from support.archive import (
    attribute, put, restore_header, restored_hours, restored_keys, restores, set_attribute, thaw)
from support.mount import Mount, wait_until
from support.reader import Reader, Stepper, read, sha256

pytestmark = pytest.mark.without("oas", why="a retrieval lasts for 24 hours, and no wish makes it longer or shorter")

# More than the daemon and the kernel fetch ahead.
CONTENT = os.urandom(64 << 20)
STEP = 4 << 20


@pytest.fixture
def restored(emulator, archive):
    """Puts the large file `f`, of a class of the dialect, and restores it for a day."""
    def make(storage_class):
        put(emulator, "f", CONTENT, storage_class)
        emulator.set_object("bkt", "f", state="restored", **{"for": "1d"})
    return make


def begin(path):
    """A program that has read a part of the file."""
    stepper = Stepper(path)
    assert stepper.step(STEP) == (STEP, sha256(CONTENT[:STEP]), None)
    return stepper


def read_to_the_error(stepper):
    """Reads on until something ends it; what came until then is the file's. Answers the errno."""
    total, digest, errno = stepper.step(len(CONTENT))
    assert total < len(CONTENT), "the file was fetched ahead to its end: it lapsed unnoticed"
    assert digest == sha256(CONTENT[:total])
    return errno


def test_a_copy_that_lapses_under_a_reader_is_restored_again_and_read_on(emulator, archive, tmp_path, restored):
    restored(archive.quick)
    with archive.mount(emulator, tmp_path) as mount, begin(mount.path / "f") as stepper:
        emulator.advance("2d")
        stepper.start_step(len(CONTENT))
        wait_until(lambda: restores(emulator) == 1, "the restore")
        wait_until(stepper.is_blocked, "the reader to wait for it")
        thaw(emulator, "f", archive.quick_span)
        assert stepper.end_step() == (len(CONTENT), sha256(CONTENT), None)
        assert restores(emulator) == 1


@pytest.mark.parametrize("policy, errno, asked", [
    # Too slow to be waited for; the restore is started.
    ({"restore_tier": "Standard"}, "ETIMEDOUT", 1),
    ({"restore_tier": "Standard", "on_frozen": "eagain"}, "ETIMEDOUT", 1),
    ({"restore_tier": "Standard", "on_frozen": "eagain", "eagain_at": "read"}, "EAGAIN", 1),
    ({"on_frozen": "refuse"}, "EREMOTE", 0),
], ids=["block", "eagain", "eagain_at=read", "refuse"])
def test_a_copy_that_lapses_under_a_reader_that_may_not_wait_is_an_error(
        emulator, archive, tmp_path, restored, policy, errno, asked):
    restored(archive.slow)
    with archive.mount(emulator, tmp_path, **policy) as mount:
        with begin(mount.path / "f") as stepper:
            emulator.advance("2d")
            assert read_to_the_error(stepper) == errno
            assert restores(emulator) == asked
            assert set_attribute(mount.path / "f", "refresh") is None
            assert attribute(mount.path / "f", "restore_status") == ("restoring" if asked else "frozen")
            # Asked for by name it comes back, and the program that has it open reads on.
            assert set_attribute(mount.path / "f", "restore") is None
            assert restores(emulator) == 1
            thaw(emulator, "f", archive.slow_span, mount.path / "f")
            wait_until(lambda: attribute(mount.path / "f", "restore_status") == "restored", "the restore")
            assert stepper.step(len(CONTENT)) == (len(CONTENT), sha256(CONTENT), None)
        with Reader(mount.path / "f") as reader:
            assert reader.result() == ("ok", sha256(CONTENT))
        assert restores(emulator) == 1


def lapsing(emulator, key, storage_class):
    """Puts a file whose copy is there for a minute yet."""
    put(emulator, key, CONTENT[:1000], storage_class)
    emulator.set_object("bkt", key, state="restored", **{"for": "1m"})


def test_a_copy_that_would_lapse_is_renewed_while_it_is_open(emulator, archive, tmp_path):
    for key in ("closed", "open"):
        lapsing(emulator, key, archive.slow)
    with archive.mount(emulator, tmp_path) as mount:
        assert attribute(mount.path / "closed", "restore_status") == "restored"
        assert read(mount.path / "closed")[0] == "ok"
        with Stepper(mount.path / "open") as stepper:
            wait_until(lambda: restores(emulator) == 1, "the renewal", 60)
            requests = emulator.requests()["requests"]
            # In time: the copy never went.
            assert [line["status"] for line in requests if line["op"] == "RestoreObject"] == [200]
            assert restored_hours(emulator, "open") > 23
            wait_until(lambda: restore_header(emulator, "closed") is None, "the other copy to lapse", 90)
            assert stepper.step(1000) == (1000, sha256(CONTENT[:1000]), None)
        # Nobody had that one open.
        assert restores(emulator, "closed") == 0
        assert restores(emulator, "open") == 1


def test_a_renewal_keeps_within_what_the_class_takes(emulator, tmp_path):
    lapsing(emulator, "f", "Archive")
    with Mount(emulator, "oss://bkt", tmp_path, {"restore_days": 30}) as mount, Stepper(mount.path / "f") as stepper:
        wait_until(lambda: restored_keys(emulator) == ["f"], "the renewal", 60)
        assert 23 < restored_hours(emulator, "f") <= 7 * 24
        assert stepper.step(1000) == (1000, sha256(CONTENT[:1000]), None)
        assert restores(emulator) == 1
