"""`setfattr -x user.thaw.restore` on a file: who waits is let go, what is queued is dropped, a copy is given back."""

import os

import pytest

from support.archive import attribute, count, put, remove_attribute, restored_keys, restores, set_attribute, thaw
from support.mount import Mount, wait_until
from support.reader import Program, Reader, is_blocked_reading, read, run, sha256

CONTENT = os.urandom(100_000)
READ_BACK = ("ok", sha256(CONTENT))
NOTHING = "No such attribute"


def cancel(path):
    return remove_attribute(path, "restore")


def test_cancelling_lets_the_readers_go_and_does_not_restore_again(emulator, archive, tmp_path):
    for key in ("f", "g"):
        put(emulator, key, CONTENT, archive.quick)
    with archive.mount(emulator, tmp_path) as mount:
        with Reader(mount.path / "f") as one, Reader(mount.path / "f") as two, Reader(mount.path / "g") as other:
            for reader in (one, two, other):
                reader.wait_until_blocked()
            wait_until(lambda: restored_keys(emulator) == ["f", "g"], "the requests")
            assert cancel(mount.path / "f") is None
            assert one.result() == two.result() == ("read", "ECANCELED")
            # Whoever waits for another file waits on.
            assert other.is_blocked()
            thaw(emulator, "g", archive.quick_span)
            assert other.result() == READ_BACK
        assert "restore of f was cancelled" in mount.log()
        # The provider went on with what it had begun.
        assert set_attribute(mount.path / "f", "refresh") is None
        assert read(mount.path / "f") == READ_BACK
        assert restores(emulator) == 2


def test_a_program_whose_restore_is_cancelled_says_so(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT, archive.quick)
    with archive.mount(emulator, tmp_path) as mount, Program("cat", mount.path / "f") as program:
        wait_until(lambda: is_blocked_reading(program.pid, mount.path / "f"), "cat to block")
        assert cancel(mount.path / "f") is None
        status, output, errors = program.finish()
        assert (status, output) == (1, "") and "Operation canceled" in errors


def test_what_is_queued_is_dropped_and_can_be_asked_for_again(emulator, archive, tmp_path):
    for key in ("f", "witness"):
        put(emulator, key, CONTENT, archive.quick)
    emulator.fault({"status": 503}, op="RestoreObject")
    with archive.mount(emulator, tmp_path) as mount, Reader(mount.path / "f") as reader:
        reader.wait_until_blocked()
        wait_until(lambda: restores(emulator) > 0, "a refused request")
        assert cancel(mount.path / "f") is None
        assert reader.result() == ("read", "ECANCELED")
        assert attribute(mount.path / "f", "restore_status") == "frozen"
        emulator.clear_faults()
        assert set_attribute(mount.path / "witness", "restore") is None
        wait_until(lambda: restored_keys(emulator) == ["witness"], "the witness")
        with Reader(mount.path / "f") as again:
            again.wait_until_blocked()
            thaw(emulator, "f", archive.quick_span)
            assert again.result() == READ_BACK
        assert restored_keys(emulator) == ["f", "witness"]


@pytest.mark.without("oas", why="a request for a job does not tell its archive, to let one fail")
def test_a_cancelled_restore_stays_cancelled_after_a_crash(emulator, archive, tmp_path):
    for key in ("f", "witness"):
        put(emulator, key, CONTENT, archive.quick)
    emulator.fault({"status": 503}, op="RestoreObject", key="f")
    mount = archive.mount(emulator, tmp_path)
    with mount, Reader(mount.path / "f") as reader:
        reader.wait_until_blocked()
        wait_until(lambda: restores(emulator) > 0, "a refused request")
        assert cancel(mount.path / "f") is None
        assert reader.result() == ("read", "ECANCELED")
        mount.kill()
    emulator.clear_faults()
    with mount:
        assert set_attribute(mount.path / "witness", "restore") is None
        wait_until(lambda: restored_keys(emulator) == ["witness"], "the witness")
        assert attribute(mount.path / "f", "restore_status") == "frozen"


def test_a_copy_is_given_back_where_the_provider_takes_it(emulator, tmp_path):
    put(emulator, "f", CONTENT, "Archive")
    with Mount(emulator, "oss://bkt", tmp_path, {"cache": "off"}) as mount:
        with Reader(mount.path / "f") as reader:
            thaw(emulator, "f", "1m")
            assert reader.result() == READ_BACK
        assert cancel(mount.path / "f") is None
        assert count(emulator, "CleanRestoredObject") == 1
        assert attribute(mount.path / "f", "restore_status") == "frozen"
        assert attribute(mount.path / "f", "restore_expiry") is None
        with Reader(mount.path / "f") as reader:
            reader.wait_until_blocked()
            wait_until(lambda: restores(emulator) == 2, "a new request")
            thaw(emulator, "f", "1m")
            assert reader.result() == READ_BACK


def test_a_copy_cannot_be_given_back_where_the_provider_takes_none(emulator, tmp_path):
    put(emulator, "f", CONTENT, "GLACIER")
    emulator.set_object("bkt", "f", state="restored")
    with Mount(emulator, "s3://bkt", tmp_path) as mount:
        assert cancel(mount.path / "f") == "Operation not supported"
        assert attribute(mount.path / "f", "restore_status") == "restored"
        assert read(mount.path / "f") == READ_BACK


@pytest.mark.without("oas", why="nothing in a vault is online")
@pytest.mark.parametrize("state", ["online", "frozen"])
def test_where_nothing_was_asked_for_there_is_nothing_to_cancel(emulator, archive, tmp_path, state):
    put(emulator, "d/f", CONTENT, archive.quick if state == "frozen" else "Standard")
    with archive.mount(emulator, tmp_path) as mount:
        assert cancel(mount.path / "d/f") == NOTHING
        assert cancel(mount.path / "d") == NOTHING
        # What is shown comes back: `rsync -X` takes away what its source does not have.
        assert run("setfattr", "-x", "user.thaw.etag", mount.path / "d/f").returncode == 0
        assert "user.thaw.etag" in os.listxattr(mount.path / "d/f")
        assert restores(emulator) == 0
