"""What happens to restores in a rough world: many readers, a killed daemon, other clients, failures, odd clocks."""

import contextlib
import datetime
import os
import signal
import sys

import botocore.exceptions
import pytest

from support.archive import attribute, count, put, restores, s3_client, set_attribute, thaw, thaw_all
from support.mount import wait_until
from support.reader import Program, Reader, is_blocked_reading, read, run, sha256

CONTENT = os.urandom(300_000)
READ_BACK = ("ok", sha256(CONTENT))


@contextlib.contextmanager
def blocked_readers(paths):
    """A reader of each path; all of them wait when the block begins."""
    with contextlib.ExitStack() as stack:
        readers = [stack.enter_context(Reader(path)) for path in paths]
        for reader in readers:
            reader.wait_until_blocked()
        yield readers


def test_a_daemon_killed_while_fifty_wait_hangs_nobody_and_forgets_nothing(emulator, archive, tmp_path):
    contents = {f"d/{number}": os.urandom(50_000) for number in range(10)}
    for key, content in contents.items():
        put(emulator, key, content, archive.quick)
    keys = list(contents) * 5
    mount = archive.mount(emulator, tmp_path)
    with mount, blocked_readers([mount.path / key for key in keys]) as readers:
        wait_until(lambda: restores(emulator) == 10, "one request for each file")
        wait_until(lambda: all(f"restore of {key} started" in mount.log() for key in contents), "the answers")
        assert {attribute(mount.path / key, "restore_status") for key in contents} == {"restoring"}
        mount.kill()
        assert {reader.result(15) for reader in readers} <= {("read", "ENOTCONN"), ("read", "ECONNABORTED")}
    with mount, blocked_readers([mount.path / key for key in keys]) as readers:
        thaw_all(emulator, archive.quick_span)
        assert [reader.result() for reader in readers] == [("ok", sha256(contents[key])) for key in keys]
    assert {key: restores(emulator, key) for key in contents} == dict.fromkeys(contents, 1)


def test_two_hundred_readers_of_one_file_share_one_restore_and_its_bytes(emulator, archive, tmp_path):
    content = os.urandom(2 << 20)
    put(emulator, "f", content, archive.quick)
    with archive.mount(emulator, tmp_path) as mount, contextlib.ExitStack() as stack:
        readers = [stack.enter_context(Program("sha256sum", mount.path / "f")) for _ in range(200)]
        for reader in readers:
            wait_until(lambda: is_blocked_reading(reader.pid, mount.path / "f"), "200 readers to block", 60)
        emulator.clear_requests()
        thaw_all(emulator, archive.quick_span)
        for reader in readers:
            status, output, errors = reader.finish()
            assert (status, output.split()[:1]) == (0, [sha256(content)]), errors
        assert restores(emulator) == 0
        # Each byte once; some slack for a reader that comes back to what has made room.
        fetched = sum(line["bytes_out"] for line in emulator.requests()["requests"] if line["op"] == "GetObject")
        assert len(content) <= fetched <= 2 * len(content)


# Opens and reads a file again and again until it works, as fast as it can.
TRY = """
import os, sys
while True:
    try:
        descriptor = os.open(sys.argv[1], os.O_RDONLY)
        os.read(descriptor, 100)
        break
    except BlockingIOError:
        pass
"""


@pytest.mark.parametrize("eagain_at", ["open", "read"])
def test_programs_that_try_until_it_works_restore_a_file_once(emulator, archive, tmp_path, eagain_at):
    keys = [str(number) for number in range(5)]
    for key in keys:
        put(emulator, key, CONTENT, archive.quick)
    with archive.mount(emulator, tmp_path, on_frozen="eagain", eagain_at=eagain_at) as mount:
        for key in keys:
            with contextlib.ExitStack() as stack:
                command = [sys.executable, "-I", "-S", "-c", TRY, mount.path / key]
                programs = [stack.enter_context(Program(*command)) for _ in range(3)]
                thaw(emulator, key, archive.quick_span)
                assert [program.finish()[0] for program in programs] == [0, 0, 0]
        assert {key: restores(emulator, key) for key in keys} == dict.fromkeys(keys, 1)


@pytest.mark.without("oas", why="one mount does not see the jobs that another began")
def test_two_mounts_of_one_bucket_restore_the_same_object(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT, archive.quick)
    mounts = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        mounts.append(archive.mount(emulator, tmp_path / name))
    with mounts[0], mounts[1]:
        assert {attribute(mount.path / "f", "restore_status") for mount in mounts} == {"frozen"}
        with blocked_readers([mount.path / "f" for mount in mounts]) as readers:
            # The second is told that one is under way already, which is as good.
            wait_until(lambda: restores(emulator) == 2, "a request of each mount")
            replies = [line["status"] for line in emulator.requests()["requests"] if line["op"] == "RestoreObject"]
            assert replies == [202, 409]
            thaw_all(emulator, archive.quick_span)
            assert [reader.result() for reader in readers] == [READ_BACK] * 2
        assert restores(emulator) == 2
        assert all("rror" not in mount.log() for mount in mounts)


@pytest.mark.without("oas", why="what others do to a vault is seen with its next inventory")
def test_an_object_renamed_while_it_is_restored_ends_the_wait_and_is_read_by_its_new_name(
        emulator, archive, tmp_path):
    put(emulator, "f", CONTENT, archive.quick)
    client = s3_client(emulator)
    source = {"Bucket": "bkt", "Key": "f"}
    with archive.mount(emulator, tmp_path) as mount, blocked_readers([mount.path / "f"]) as [reader]:
        wait_until(lambda: attribute(mount.path / "f", "restore_requested"), "the request")
        # A copy needs the restore as well; the daemon must not be quicker to see its end than the other client.
        with pytest.raises(botocore.exceptions.ClientError, match="ObjectNotInActiveTier"):
            client.copy_object(Bucket="bkt", Key="g", CopySource=source)
        pid = mount.pid()
        os.kill(pid, signal.SIGSTOP)
        try:
            emulator.advance(archive.quick_span)
            client.copy_object(Bucket="bkt", Key="g", CopySource=source)
            client.delete_object(**source)
        finally:
            os.kill(pid, signal.SIGCONT)
        archive.hasten(mount.path / "f")
        assert reader.result() in {("read", "ENOENT"), ("read", "ESTALE")}
        assert set_attribute(mount.path, "refresh") is None
        assert run("ls", mount.path).stdout.split() == ["g"]
        assert read(mount.path / "g") == READ_BACK
        assert read(mount.path / "f") == ("open", "ENOENT")
        assert restores(emulator) == 1


def test_a_restore_that_fails_at_the_provider_is_an_error_and_can_be_asked_for_again(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT, archive.quick)
    emulator.fault({"restore_fails": True}, times=1)
    with archive.mount(emulator, tmp_path) as mount:
        with blocked_readers([mount.path / "f"] * 3) as readers:
            thaw(emulator, "f", archive.quick_span)
            assert {reader.result() for reader in readers} == {("read", "EIO")}
        assert mount.log().count("without a readable copy") == 1
        assert attribute(mount.path / "f", "restore_status") == "frozen"
        assert restores(emulator) == 1
        with blocked_readers([mount.path / "f"]) as [reader]:
            thaw(emulator, "f", archive.quick_span)
            assert reader.result() == READ_BACK
        assert restores(emulator) == 2


@pytest.mark.parametrize("ahead", [3600, -3600], ids=["store ahead", "store behind"])
def test_a_clock_that_is_an_hour_off_does_not_disturb_a_restore(emulator, archive, tmp_path, ahead):
    put(emulator, "f", CONTENT, archive.quick)
    emulator.fault({"clock_skew": ahead}, dialect=archive.dialect)
    with archive.mount(emulator, tmp_path) as mount:
        with blocked_readers([mount.path / "f"]) as [reader]:
            wait_until(lambda: restores(emulator) == 1, "the request")
            thaw_all(emulator, archive.quick_span)
            assert reader.result() == READ_BACK
        assert attribute(mount.path / "f", "restore_status") == "restored"
        assert read(mount.path / "f") == READ_BACK
        assert restores(emulator) == 1


@pytest.mark.without("oas", why="a retrieval lasts for 24 hours")
def test_a_copy_is_not_given_up_at_the_second_of_its_expiry(emulator, archive, tmp_path):
    # The store's clock stands still, so that ours overtakes the expiry while the copy is still there.
    emulator.set_scale(0)
    put(emulator, "f", CONTENT, archive.quick)
    emulator.set_object("bkt", "f", state="restored", **{"for": "2s"})
    # Refusing, so that nothing is restored again in secret; nor is the copy renewed for whoever has it open.
    with archive.mount(emulator, tmp_path, on_frozen="refuse") as mount:
        expiry = datetime.datetime.fromisoformat(attribute(mount.path / "f", "restore_expiry"))
        wait_until(lambda: datetime.datetime.now(datetime.timezone.utc) > expiry, "the expiry by our clock")
        for _ in range(2):
            assert attribute(mount.path / "f", "restore_status") == "restored"
            assert read(mount.path / "f") == READ_BACK
            assert set_attribute(mount.path / "f", "refresh") is None
        assert restores(emulator) == 0


@pytest.mark.without("oas", why="a retrieval lasts for 24 hours")
def test_a_copy_that_lapsed_by_the_stores_clock_is_restored_again(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT, archive.quick)
    emulator.set_object("bkt", "f", state="restored", **{"for": "30m"})
    with archive.mount(emulator, tmp_path, metadata_ttl="forever") as mount:
        assert attribute(mount.path / "f", "restore_status") == "restored"
        emulator.advance("1h")
        # By ours there is half an hour left. The store decides, and its refusal costs one request.
        with blocked_readers([mount.path / "f"]) as [reader]:
            thaw(emulator, "f", archive.quick_span)
            assert reader.result() == READ_BACK
        assert restores(emulator) == 1
        assert count(emulator, "GetObject") <= 3
