"""Restored copies that lapse: under a reader in the middle of a large file, and what it takes to read on."""

import os

import pytest

from support.archive import attribute, put, restores, set_attribute, thaw
from support.mount import wait_until
from support.reader import Reader, Stepper, sha256

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
            # Asked for by name it comes back, and a program that has asked for it reads on.
            assert set_attribute(mount.path / "f", "restore") is None
            assert restores(emulator) == 1
            thaw(emulator, "f", archive.slow_span, mount.path / "f")
            wait_until(lambda: attribute(mount.path / "f", "restore_status") == "restored", "the restore")
            if asked:
                assert stepper.step(len(CONTENT)) == (len(CONTENT), sha256(CONTENT), None)
        with Reader(mount.path / "f") as reader:
            assert reader.result() == ("ok", sha256(CONTENT))
        assert restores(emulator) == 1
