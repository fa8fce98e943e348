"""The daemon is killed with SIGKILL while programs write: what fsync or close accepted is there after the next mount,
and nothing is half there."""

import errno
import os
import random

import pytest

from support.mount import wait_until
from support.objects import content
from support.reader import Program, run
from support.writer import Maker, Recorder, records, write

pytestmark = pytest.mark.without("oas", why="what is written to a vault cannot be read before it is retrieved")

ROUNDS = 3
MODES = pytest.mark.parametrize("write_back", ["off", "on"])
MIB = 1 << 20


def remount(mount):
    done = mount.mount()
    assert done.returncode == 0, done.stderr


def settled(store, wanted):
    """Waits until the store has these contents and nothing else."""
    def is_settled():
        return (set(store.stored.keys()) == set(wanted)
                and {key: store.stored.content(key) for key in wanted} == wanted)
    wait_until(is_settled, "the store to have what was accepted", 60)


@pytest.mark.parametrize("store, write_back, prefilled", [
    ("oss", "off", 0), ("oss", "on", 0), ("oss", "on", 20 * MIB), ("s3", "off", 0), ("s3", "on", 0),
    ("s3", "off", 20 * MIB), ("moto", "off", 0), ("moto", "on", 0),
], indirect=["store"])
def test_every_record_that_fsync_accepted_is_there(store, write_back, prefilled):
    """A large file's records begin where it ends, so that parts of it are copied at the store."""
    source = random.Random(prefilled)
    size = 5000
    whole = b"".join(b"%08d" % number * (size // 8) for number in range(prefilled // size))
    with store.mount(write_back=write_back) as mount:
        (mount.path / "log").write_bytes(whole)
        accepted = len(whole) // size - 1
        for _ in range(2 if prefilled else ROUNDS):
            with Recorder(mount.path / "log") as recorder:
                recorder.wait_for(source.randrange(1, 5 if prefilled else 20))
                mount.kill()
                accepted = max(accepted, recorder.rest())
            remount(mount)
            found = (mount.path / "log").read_bytes()
            assert records(found) > accepted
            # One more may have been under way.
            assert records(found) <= accepted + 2
        wanted = (mount.path / "log").read_bytes()
        settled(store, {"log": wanted})


@MODES
def test_every_file_that_close_accepted_is_there(emulated, write_back):
    source = random.Random(7)
    with emulated.mount(write_back=write_back) as mount:
        for number in range(2):
            directory = mount.path / str(number)
            directory.mkdir()
            with Maker(directory) as maker:
                maker.wait_for(source.randrange(1, 60))
                mount.kill()
                accepted = maker.rest()
            remount(mount)
            names = sorted(int(name) for name in os.listdir(directory))
            # The next one may be there as well, empty or whole.
            assert names in (list(range(accepted + 1)), list(range(accepted + 2)))
            for name in names[:accepted + 1]:
                assert (directory / str(name)).read_bytes() == b"%08d" % name * 500
        wanted = {f"{number}/": b"" for number in range(2)}
        for directory in range(2):
            # What was on its way when the daemon died may have come after the listing.
            os.setxattr(mount.path / str(directory), "user.thaw.refresh", b"")
            for name in os.listdir(mount.path / str(directory)):
                wanted[f"{directory}/{name}"] = (mount.path / str(directory) / name).read_bytes()
        settled(emulated, wanted)


def test_what_waited_for_a_store_in_trouble_is_uploaded_after_a_crash(emulated, emulator):
    emulator.fault({"status": 503}, method="PUT")
    emulator.fault({"status": 503}, method="POST")
    wanted = {f"f{number}": content(number * 40_000, number) for number in range(12)}
    wanted["large"] = content(20 * MIB, 99)
    with emulated.mount(write_back="on") as mount:
        for name, body in wanted.items():
            (mount.path / name).write_bytes(body)
        mount.kill()
        assert emulated.stored.keys() == []
        remount(mount)
        for name, body in wanted.items():
            assert (mount.path / name).read_bytes() == body
        assert sorted(os.listdir(mount.path)) == sorted(wanted)
        emulator.clear_faults()
        settled(emulated, wanted)


@MODES
@pytest.mark.parametrize("operation, size", [
    ("PutObject", 100_000), ("UploadPart", 40 * MIB), ("CompleteMultipartUpload", 20 * MIB),
])
def test_a_daemon_killed_during_an_upload_leaves_the_old_content_or_the_new(
        emulated, emulator, write_back, operation, size):
    with emulated.mount(write_back=write_back) as mount:
        (mount.path / "f").write_bytes(b"old")
        wait_until(lambda: emulated.stored.keys() == ["f"], "the upload")
        emulator.clear_requests()
        emulator.fault({"latency_ms": 400}, op=operation)
        with Program("dd", "if=/dev/zero", f"of={mount.path}/f", "bs=100000", f"count={-(-size // 100_000)}") as writer:
            wait_until(lambda: emulator.requests()["counts"].get(operation, 0) >= 1, f"a {operation}", 60)
            mount.kill()
            status, _, _ = writer.finish()
        emulator.clear_faults()
        remount(mount)
        new = bytes(-(-size // 100_000) * 100_000)

        def is_settled():
            """What the daemon sent before it died may be taken in by the store while we look."""
            try:
                os.setxattr(mount.path / "f", "user.thaw.refresh", b"")
                found = (mount.path / "f").read_bytes()
            except OSError as error:
                assert error.errno == errno.ESTALE
                return False
            # A killed program may have written part of it; what was closed is whole.
            assert found in (b"old", new)
            assert found == new or status != 0
            return found == emulated.stored.content("f")
        wait_until(is_settled, "the mount to show what the store has", 60)
        wait_until(lambda: emulated.stored.uploads() == [], "upload fragments to be cleared away", 60)


def tree(emulated, directory):
    prefix = f"{directory}/"
    return {key[len(prefix):] for key in emulated.stored.keys(prefix)} - {""}


@pytest.mark.parametrize("operation, moment", [
    ("CopyObject", 1), ("CopyObject", 70), ("CopyObject", 199), ("DeleteObjects", 1),
], ids=["first copy", "some copies", "last copy", "deletes"])
def test_a_rename_of_a_directory_is_finished_after_a_crash(emulated, emulator, objects, operation, moment):
    names = {f"{number:03}" for number in range(198)} | {"sub/a", "sub/b"}
    for name in names:
        objects.put(f"old/{name}", name.encode())
    with emulated.mount() as mount:
        emulator.clear_requests()
        emulator.fault({"latency_ms": 30}, op=operation)
        with Program("mv", mount.path / "old", mount.path / "new") as mover:
            wait_until(lambda: emulator.requests()["counts"].get(operation, 0) >= moment, "the rename", 60)
            mount.kill()
            mover.finish()
        # In no moment is an object in neither place.
        assert tree(emulated, "old") | tree(emulated, "new") >= names
        emulator.clear_faults()
        remount(mount)
        wait_until(lambda: tree(emulated, "old") - {"sub/"} == set(), "the rename to be finished", 60)
        assert tree(emulated, "new") - {"sub/"} == names
        wanted = sorted(f"new/{name}" for name in names)

        def found():
            return sorted(run("find", mount.path, "-type", "f", "-printf", "%P\n").stdout.split())
        # The store is done a moment before the mount has taken that in.
        wait_until(lambda: found() == wanted, "the mount to show the directory under its new name")
        for name in names:
            assert (mount.path / "new" / name).read_bytes() == name.encode()


@pytest.mark.parametrize("operation", ["CopyObject", "DeleteObject"])
def test_a_rename_of_a_file_is_finished_after_a_crash(emulated, emulator, objects, operation):
    """It is journalled before the copy is asked for, and the next mount ends it before it is seen."""
    objects.put("old", b"content")
    objects.put("new", b"what it replaces")
    with emulated.mount() as mount:
        assert (mount.path / "old").read_bytes() == b"content"
        emulator.clear_requests()
        emulator.fault({"latency_ms": 500}, op=operation)
        with Program("mv", mount.path / "old", mount.path / "new") as mover:
            wait_until(lambda: emulator.requests()["counts"].get(operation, 0) >= 1, "the rename")
            mount.kill()
            mover.finish()
        emulator.clear_faults()
        remount(mount)
        assert os.listdir(mount.path) == ["new"]
        assert (mount.path / "new").read_bytes() == b"content"
        # The request of the mount that was killed may be answered late: it changes nothing any more.
        settled(emulated, {"new": b"content"})


def test_what_was_kept_for_open_files_is_cleared_away_after_a_crash(emulated):
    with emulated.mount() as mount:
        (mount.path / "f").write_bytes(b"content")
        with Program("sh", "-c", "exec 3< f; rm f; echo removed; read line <&0; cat <&3", cwd=mount.path,
                     stdin=-1) as reader:
            assert reader.process.stdout.readline() == "removed\n"
            mount.kill()
        remount(mount)
        assert os.listdir(mount.path) == []
        wait_until(lambda: emulated.stored.keys() == [], "nothing to be left")


def test_what_was_never_closed_or_synced_leaves_no_trace_of_a_broken_file(emulated):
    """Its object is the old one, or not there."""
    with emulated.mount(write_back="on") as mount:
        (mount.path / "f").write_bytes(b"old")
        text = "exec 3<> f; echo changed >&3; exec 4> new; echo content >&4; echo written; read line"
        with Program("bash", "-c", text, cwd=mount.path, stdin=-1) as writer:
            assert writer.process.stdout.readline() == "written\n"
            mount.kill()
        remount(mount)
        assert (mount.path / "f").read_bytes() in (b"old", b"changed\n")
        assert not (mount.path / "new").exists() or (mount.path / "new").read_bytes() in (b"", b"content\n")


def test_a_file_written_after_the_crash_wins_over_what_waited(emulated, emulator):
    emulator.fault({"status": 503}, method="PUT")
    with emulated.mount(write_back="on") as mount:
        assert write(mount.path / "f", 1000) == ("ok",)
        mount.kill()
        remount(mount)
        (mount.path / "f").write_bytes(b"newer")
        os.rename(mount.path / "f", mount.path / "g")
        emulator.clear_faults()
        settled(emulated, {"g": b"newer"})
