"""What a read of a frozen file meets: waiting, its limits, and errors, as `on_frozen` and its companions say."""

import os

import pytest

from support.archive import (
    ARCHIVES, attribute, count, put, restored_hours, restores, s3_client, set_attribute, set_state, thaw,
    thaw_all, wait_until_known)
from support.mount import Mount, wait_until
from support.reader import Program, Reader, is_blocked_reading, read, run, sha256

CONTENT = os.urandom(300_000)
READ_BACK = ("ok", sha256(CONTENT))


def test_fifty_readers_wait_for_one_restore_and_get_the_right_bytes(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT, archive.quick)
    with archive.mount(emulator, tmp_path) as mount:
        readers = [Reader(mount.path / "f") for _ in range(50)]
        try:
            for reader in readers:
                reader.wait_until_blocked()
            thaw(emulator, "f", archive.quick_span)
            assert {reader.result() for reader in readers} == {READ_BACK}
            assert restores(emulator) == 1
        finally:
            for reader in readers:
                reader.__exit__()


@pytest.mark.only("cos", "oas", why="the others look every few seconds by themselves")
def test_who_sees_that_a_file_is_restored_wakes_those_who_wait_for_it(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT, archive.quick)
    with archive.mount(emulator, tmp_path, metadata_ttl="0") as mount, Reader(mount.path / "f") as reader:
        reader.wait_until_blocked()
        wait_until_known(mount.path / "f")
        emulator.advance(archive.quick_span)
        # By itself it would look again in minutes.
        wait_until(lambda: attribute(mount.path / "f", "restore_status") == "restored", "the restore to show")
        assert reader.result() == READ_BACK


def test_a_restore_too_slow_to_wait_for_is_started_and_the_open_fails(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT, archive.slow)
    with archive.mount(emulator, tmp_path, restore_tier="Standard", restore_wait="5m") as mount:
        assert [read(mount.path / "f") for _ in range(3)] == [("open", "EAGAIN")] * 3
        assert restores(emulator) == 1
        assert attribute(mount.path / "f", "restore_status") == "restoring"
        thaw(emulator, "f", archive.slow_span, mount.path / "f")
        wait_until(lambda: attribute(mount.path / "f", "restore_status") == "restored", "the restore to be noticed")
        assert read(mount.path / "f") == READ_BACK
        assert restores(emulator) == 1


def test_a_wait_that_runs_out_is_a_timeout_and_the_restore_goes_on(emulator, tmp_path):
    # Its copy is there after 60 s by the documents; the store's clock stands still.
    emulator.set_scale(0)
    put(emulator, "f", CONTENT, "Archive")
    with ARCHIVES["oss"].mount(emulator, tmp_path, restore_wait="60s") as mount:
        with Reader(mount.path / "f") as reader:
            assert reader.wait_until_blocked().result(90) == ("read", "ETIMEDOUT")
        assert attribute(mount.path / "f", "restore_status") == "restoring"
        assert "gave up waiting" in mount.log()
        emulator.advance("1m")
        assert read(mount.path / "f") == READ_BACK
        assert restores(emulator) == 1


def test_restore_wait_forever_waits_for_the_slowest_class(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT, archive.slow)
    with archive.mount(emulator, tmp_path, restore_wait="forever", restore_tier="Standard") as mount:
        with Reader(mount.path / "f") as reader:
            reader.wait_until_blocked()
            thaw(emulator, "f", archive.slow_span, mount.path / "f")
            assert reader.result() == READ_BACK


@pytest.mark.parametrize("dialect, storage_class, options, span, days", [
    ("oss", "Archive", {"restore_days": 2}, "1m", 2),
    ("oss", "Archive", {"restore_days": 30}, "1m", 7),
    ("oss", "Archive", {}, "1m", 3),
    ("oss", "ColdArchive", {"restore_days": 400, "restore_tier": "Expedited"}, "1h", 365),
    ("s3", "GLACIER", {"restore_days": 30, "restore_tier": "Bulk"}, "12h", 30),
    # No Expedited there: the class's own default is asked for.
    ("s3", "DEEP_ARCHIVE", {"restore_days": 1, "restore_tier": "Expedited"}, "12h", 1),
])
def test_days_and_tier_reach_the_provider_within_what_the_class_takes(
        emulator, tmp_path, dialect, storage_class, options, span, days):
    emulator.set_scale(0)
    put(emulator, "f", CONTENT, storage_class)
    with Mount(emulator, f"{dialect}://bkt", tmp_path, {"restore_wait": "forever"} | options) as mount:
        with Reader(mount.path / "f") as reader:
            reader.wait_until_blocked()
            wait_until(lambda: restores(emulator) == 1, "the request")
            # The tier decides the time: a moment before it the copy is not there.
            emulator.advance({"1m": "59", "1h": "59m", "12h": "719m"}[span])
            assert 'ongoing-request="true"' in s3_client(emulator).head_object(Bucket="bkt", Key="f")["Restore"]
            emulator.advance("1m")
            assert set_attribute(mount.path / "f", "refresh") is None
            assert reader.result() == READ_BACK
        assert days * 24 - 1 < restored_hours(emulator, "f") <= days * 24


def test_looking_at_frozen_files_restores_nothing(emulator, archive, tmp_path):
    for name in "abc":
        put(emulator, f"d/{name}", CONTENT, archive.quick)
    with archive.mount(emulator, tmp_path) as mount:
        emulator.clear_requests()
        for command in (["stat", mount.path / "d/a"], ["ls", "-l", mount.path / "d"],
                        ["find", mount.path, "-type", "f", "-size", "+1k"], ["test", "-r", mount.path / "d/a"],
                        ["getfattr", "-R", "-d", mount.path], ["du", "-a", mount.path]):
            done = run(*command)
            assert done.returncode == 0, (command, done.stderr)
        assert restores(emulator) == 0
        assert count(emulator, "GetObject") == 0


def test_a_frozen_file_has_all_its_blocks(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT, archive.quick)
    with archive.mount(emulator, tmp_path) as mount:
        assert int(run("stat", "-c", "%b", mount.path / "f").stdout) * 512 >= len(CONTENT)


@pytest.mark.without("oas", why="a mount does not see the jobs that others began")
def test_a_restore_that_somebody_else_started_is_waited_for(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT, archive.quick)
    with archive.mount(emulator, tmp_path) as mount:
        assert run("ls", "-l", mount.path).returncode == 0
        archive.restore_elsewhere(emulator, "f")
        with Reader(mount.path / "f") as reader:
            reader.wait_until_blocked()
            thaw(emulator, "f", archive.quick_span)
            assert reader.result() == READ_BACK
        # The other's, and ours that the store answers with 409.
        assert restores(emulator) == 2


@pytest.mark.without("oas", why="a mount does not see the jobs that others began")
def test_a_copy_that_somebody_else_restored_is_read_at_once(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT, archive.quick)
    with archive.mount(emulator, tmp_path) as mount:
        assert attribute(mount.path / "f", "restore_status") == "frozen"
        set_state(emulator, "f", "restored")
        assert read(mount.path / "f") == READ_BACK


def test_an_expired_copy_is_restored_again(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT, archive.quick)
    with archive.mount(emulator, tmp_path, metadata_ttl="forever", cache="off") as mount:
        for turn in (1, 2):
            with Reader(mount.path / "f") as reader:
                thaw(emulator, "f", archive.quick_span)
                assert reader.result() == READ_BACK
            assert restores(emulator) == turn
            emulator.advance("8d")


def test_an_archived_object_that_the_listing_calls_online_is_restored(emulator, tmp_path):
    put(emulator, "f", CONTENT, "INTELLIGENT_TIERING", archive_status="ARCHIVE_ACCESS")
    with Mount(emulator, "s3://bkt", tmp_path, {"restore_tier": "Expedited"}) as mount:
        assert run("ls", "-l", mount.path).returncode == 0
        with Reader(mount.path / "f") as reader:
            thaw(emulator, "f", "5m")
            assert reader.result() == READ_BACK
        assert restores(emulator) == 1


def enable_direct_read(emulator):
    import oss2
    auth = oss2.AuthV4(emulator.ACCESS_KEY, emulator.SECRET_KEY)
    oss2.defaults.request_retries = 0
    oss2.Bucket(auth, emulator.url, "bkt", region="cn-hangzhou").put_bucket_archive_direct_read(True)


def test_with_direct_read_archive_is_online_and_cold_archive_is_not(emulator, tmp_path):
    enable_direct_read(emulator)
    put(emulator, "archive", CONTENT, "Archive")
    put(emulator, "cold", CONTENT, "ColdArchive")
    with Mount(emulator, "oss://bkt", tmp_path) as mount:
        assert attribute(mount.path / "archive", "restore_status") == "online"
        assert read(mount.path / "archive") == READ_BACK
        assert restores(emulator) == 0
        assert attribute(mount.path / "cold", "restore_status") == "frozen"
        assert read(mount.path / "cold") == ("open", "EAGAIN")


def test_expedited_without_capacity_falls_back_to_the_default_tier(emulator, tmp_path):
    emulator.fault({"expedited_unavailable": True})
    put(emulator, "f", CONTENT, "GLACIER")
    with Mount(emulator, "s3://bkt", tmp_path, {"restore_tier": "Expedited", "restore_wait": "forever"}) as mount:
        with Reader(mount.path / "f") as reader:
            reader.wait_until_blocked()
            wait_until(lambda: attribute(mount.path / "f", "restore_tier") == "Standard", "the fallback")
            emulator.advance("5h")
            assert set_attribute(mount.path / "f", "refresh") is None
            assert reader.result() == READ_BACK
        assert "GlacierExpeditedRetrievalNotAvailable" in mount.log()


@pytest.mark.parametrize("status, code, errno", [(403, "AccessDenied", "EACCES"), (500, "InternalError", "EIO")])
def test_a_refused_restore_is_an_error_and_one_line_of_log(emulator, archive, tmp_path, status, code, errno):
    emulator.fault({"status": status, "code": code}, op="RestoreObject")
    put(emulator, "f", CONTENT, archive.quick)
    with archive.mount(emulator, tmp_path) as mount:
        with Reader(mount.path / "f") as reader:
            # A vault's job may have been made all the same: it is looked for, for 13 s after each of five attempts.
            assert reader.result(180) == ("read", errno)
        lines = [line for line in mount.log().splitlines() if "restore of f failed" in line]
        assert len(lines) == 1, mount.log()
        assert code in lines[0] and "request" in lines[0], lines
        emulator.clear_faults()
        with Reader(mount.path / "f") as reader:
            reader.wait_until_blocked()
            thaw(emulator, "f", archive.quick_span)
            assert reader.result() == READ_BACK


@pytest.mark.without("oas", why="what others do to a vault is seen with its next inventory")
def test_an_object_deleted_while_it_is_restored_ends_the_wait(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT, archive.quick)
    with archive.mount(emulator, tmp_path) as mount, Reader(mount.path / "f") as reader:
        reader.wait_until_blocked()
        wait_until_known(mount.path / "f")
        s3_client(emulator).delete_object(Bucket="bkt", Key="f")
        archive.hasten(mount.path / "f")
        assert reader.result() in {("read", "ENOENT"), ("read", "ESTALE")}
        wait_until(lambda: read(mount.path / "f") == ("open", "ENOENT"), "the file to be gone")
        assert restores(emulator) == 1


@pytest.mark.without("oas", why="what others do to a vault is seen with its next inventory")
def test_an_object_replaced_while_it_is_restored_is_stale(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT, archive.quick)
    with archive.mount(emulator, tmp_path) as mount, Reader(mount.path / "f") as reader:
        reader.wait_until_blocked()
        wait_until_known(mount.path / "f")
        put(emulator, "f", b"another content")
        archive.hasten(mount.path / "f")
        assert reader.result() == ("read", "ESTALE")
        assert read(mount.path / "f") == ("ok", sha256(b"another content"))
        assert restores(emulator) == 1


def test_a_restore_that_the_provider_loses_is_an_error(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT, archive.quick)
    with archive.mount(emulator, tmp_path) as mount, Reader(mount.path / "f") as reader:
        reader.wait_until_blocked()
        wait_until_known(mount.path / "f")
        set_state(emulator, "f", "frozen")
        archive.hasten(mount.path / "f")
        assert reader.result() == ("read", "EIO")
        assert "without a readable copy" in mount.log()


def test_eagain_starts_one_restore_and_opens_once_it_is_done(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT, archive.quick)
    with archive.mount(emulator, tmp_path, on_frozen="eagain") as mount:
        assert [read(mount.path / "f") for _ in range(4)] == [("open", "EAGAIN")] * 4
        assert restores(emulator) == 1
        thaw(emulator, "f", archive.quick_span)
        wait_until(lambda: read(mount.path / "f") == READ_BACK, "the file to open")
        assert restores(emulator) == 1


def test_eagain_at_read_lets_the_open_pass(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT, archive.quick)
    with archive.mount(emulator, tmp_path, on_frozen="eagain", eagain_at="read") as mount:
        assert [read(mount.path / "f") for _ in range(4)] == [("read", "EAGAIN")] * 4
        assert restores(emulator) == 1
        thaw(emulator, "f", archive.quick_span)
        wait_until(lambda: read(mount.path / "f") == READ_BACK, "the file to be read")
        assert restores(emulator) == 1


def test_refuse_sends_nothing_and_an_explicit_restore_still_works(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT, archive.quick)
    with archive.mount(emulator, tmp_path, on_frozen="refuse") as mount:
        assert [read(mount.path / "f") for _ in range(3)] == [("open", "EREMOTE")] * 3
        assert restores(emulator) == 0
        assert set_attribute(mount.path / "f", "restore", archive.quick_wish) is None
        assert restores(emulator) == 1
        assert read(mount.path / "f") == ("open", "EREMOTE")
        thaw(emulator, "f", archive.quick_span)
        wait_until(lambda: read(mount.path / "f") == READ_BACK, "the file to open")
        assert restores(emulator) == 1


def threads(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("Threads:"))


def test_two_hundred_blocked_readers_hold_up_nothing_else(emulator, archive, tmp_path):
    for number in range(20):
        put(emulator, f"frozen/{number}", CONTENT, archive.quick)
    for number in range(20):
        put(emulator, f"hot/{number}", CONTENT)
    with archive.mount(emulator, tmp_path) as mount:
        assert read(mount.path / "hot/0") == READ_BACK
        before = threads(mount.pid())
        paths = [mount.path / f"frozen/{number % 20}" for number in range(200)]
        readers = [Program("cat", path, stdout=-3) for path in paths]
        try:
            for reader, path in zip(readers, paths):
                wait_until(lambda: is_blocked_reading(reader.pid, path), "200 readers to block", 60)
            wait_until(lambda: restores(emulator) == 20, "one restore per file")
            for number in range(20):
                assert run("stat", mount.path / f"hot/{number}", timeout=10).returncode == 0
                assert read(mount.path / f"hot/{number}") == READ_BACK
            assert len(run("ls", "-l", mount.path / "hot", timeout=10).stdout.splitlines()) == 21
            assert len(run("ls", "-l", mount.path / "frozen", timeout=10).stdout.splitlines()) == 21
            assert threads(mount.pid()) <= before + 4
            thaw_all(emulator, archive.quick_span)
            assert {reader.finish()[0] for reader in readers} == {0}
            assert restores(emulator) == 20
        finally:
            for reader in readers:
                reader.__exit__()


def frozen_tree(emulator, archive):
    emulator.seed("bkt", count=300, size=100, prefix="d/", storage_class=archive.quick)


@pytest.mark.without("cos", "oas", why="no listing tells what is frozen: each open asks")
def test_grep_over_frozen_files_with_refuse_sends_no_request_per_file(emulator, archive, tmp_path):
    frozen_tree(emulator, archive)
    with archive.mount(emulator, tmp_path, on_frozen="refuse") as mount:
        emulator.clear_requests()
        done = run("grep", "-r", "needle", mount.path / "d")
        assert done.returncode == 2 and len(done.stderr.splitlines()) == 300
        assert all(count(emulator, name) == 0 for name in ("RestoreObject", "HeadObject", "GetObject"))


@pytest.mark.without("oas", why="a hundred jobs a second are the limit")
def test_grep_over_frozen_files_with_eagain_asks_for_each_once(emulator, archive, tmp_path):
    frozen_tree(emulator, archive)
    with archive.mount(emulator, tmp_path, on_frozen="eagain") as mount:
        emulator.clear_requests()
        done = run("grep", "-r", "needle", mount.path / "d")
        requests = emulator.requests()["requests"]
        assert done.returncode == 2 and len(done.stderr.splitlines()) == 300
        assert sum(line["op"] == "RestoreObject" for line in requests) == 300
        assert sum(line["op"] == "GetObject" for line in requests) == 0
