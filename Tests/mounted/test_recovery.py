"""Restores under way survive the daemon: it is killed, mounted again, and asks for nothing twice."""


import pytest

from support.archive import attribute, count, is_under_way, put, restores, thaw, thaw_all
from support.mount import wait_until
from support.reader import Reader, read, sha256

CONTENT = b"frozen content" * 1000
READ_BACK = ("ok", sha256(CONTENT))


def wait_for_status(path, wanted):
    wait_until(lambda: attribute(path, "restore_status") == wanted, f"{path.name} to be {wanted}", 60)


def test_a_killed_daemons_restore_is_resumed_without_asking_again(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT, archive.quick)
    mount = archive.mount(emulator, tmp_path)
    with mount, Reader(mount.path / "f") as reader:
        reader.wait_until_blocked()
        wait_until(lambda: "restore of f started" in mount.log(), "the store's answer")
        mount.kill()
        assert reader.result()[0] == "read"
    with mount:
        wait_until(lambda: "resuming the restores of an earlier mount" in mount.log(), "the restore to be resumed")
        assert attribute(mount.path / "f", "restore_status") == "restoring"
        emulator.clear_requests()
        thaw_all(emulator, archive.quick_span)
        # Nobody reads: polling alone has to notice.
        wait_until(lambda: "f is restored" in mount.log(), "the restore to be noticed", 60)
        wait_for_status(mount.path / "f", "restored")
        assert read(mount.path / "f") == READ_BACK
        assert restores(emulator) == 0


def test_a_reader_after_the_remount_waits_for_the_resumed_restore(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT, archive.quick)
    mount = archive.mount(emulator, tmp_path)
    with mount, Reader(mount.path / "f") as reader:
        reader.wait_until_blocked()
        wait_until(lambda: "restore of f started" in mount.log(), "the store's answer")
        mount.kill()
    with mount, Reader(mount.path / "f") as reader:
        reader.wait_until_blocked()
        thaw(emulator, "f", archive.quick_span)
        assert reader.result() == READ_BACK
        assert restores(emulator) == 1


def test_a_restore_that_ended_while_nothing_was_mounted_is_noticed(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT, archive.quick)
    mount = archive.mount(emulator, tmp_path)
    with mount, Reader(mount.path / "f") as reader:
        reader.wait_until_blocked()
        wait_until(lambda: "restore of f started" in mount.log(), "the store's answer")
        mount.kill()
    thaw(emulator, "f", archive.quick_span)
    with mount:
        wait_for_status(mount.path / "f", "restored")
        assert read(mount.path / "f") == READ_BACK
        assert restores(emulator) == 1


def test_an_ordinary_unmount_leaves_the_restore_to_the_next_mount(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT, archive.slow)
    mount = archive.mount(emulator, tmp_path, restore_tier="Standard", restore_wait="5m")
    with mount:
        assert read(mount.path / "f") == ("open", "EAGAIN")
        assert attribute(mount.path / "f", "restore_status") == "restoring"
    thaw(emulator, "f", archive.slow_span)
    with mount:
        wait_for_status(mount.path / "f", "restored")
        assert read(mount.path / "f") == READ_BACK
        assert restores(emulator) == 1


@pytest.mark.parametrize("reached", [True, False], ids=["request arrived", "request lost"])
def test_a_daemon_killed_while_it_asks_has_asked_once_in_the_end(emulator, archive, tmp_path, reached):
    # Either the store never took the request, or it did and its answer was on the way.
    emulator.fault({"latency_ms": 600_000} if reached else {"status": 503}, op="RestoreObject")
    put(emulator, "f", CONTENT, archive.quick)
    mount = archive.mount(emulator, tmp_path)
    with mount, Reader(mount.path / "f") as reader:
        reader.wait_until_blocked()
        wait_until(lambda: asked(emulator, mount, reached), "the request")
        mount.kill()
    emulator.clear_faults()
    emulator.clear_requests()
    with mount:
        # It looks before it asks again.
        thaw(emulator, "f", archive.quick_span)
        assert read(mount.path / "f") == READ_BACK
        assert restores(emulator) == (0 if reached else 1)


def asked(emulator, mount, reached):
    if not reached:
        return restores(emulator) > 0
    return is_under_way(emulator, "f")


@pytest.mark.without("oas", why="the emulator fills buckets only")
def test_many_restores_are_resumed_and_each_is_noticed(emulator, archive, tmp_path):
    emulator.seed("bkt", count=100, size=100, prefix="d/", storage_class=archive.slow)
    mount = archive.mount(emulator, tmp_path, on_frozen="eagain", restore_tier="Standard")
    with mount:
        for number in range(100):
            assert read(mount.path / f"d/{number:08}") == ("open", "EAGAIN")
        assert restores(emulator) == 100
        mount.kill()
    emulator.advance(archive.slow_span)
    with mount:
        wait_until(lambda: mount.log().count(" is restored") == 100, "every restore to be noticed", 60)
        assert read(mount.path / "d/00000042")[0] == "ok"
        assert restores(emulator) == 100
        assert count(emulator, "HeadObject") < 400
