"""What is accepted with `write_back` and not stored yet: shown, waited for, left to the next mount, and copied out."""

import json
import os
import pathlib
import shutil
import signal

import pytest

from support.command import Thawfs, thawfs, thawfs_json
from support.mount import is_mounted, lives, wait_until
from support.objects import content
from support.reader import run

pytestmark = pytest.mark.without("cos", "oas", why="what waits to be uploaded knows no stores")

REFUSED = {"status": 403, "code": "AccessDenied", "message": "not yours"}


@pytest.fixture
def mount(mounting, emulator):
    """A mount with `write_back`; what refused its uploads is gone at the end."""
    with mounting(options={"write_back": None}) as mounted:
        yield mounted
        emulator.clear_faults()


def refuse_uploads(emulator):
    for op in ("PutObject", "InitiateMultipartUpload"):
        emulator.fault(REFUSED, op=op, times=1_000_000)


def uploads(mount):
    return thawfs_json("status", mount.path)["mounts"][0]["uploads"]


def wait_until_refused(mount, number=1):
    wait_until(lambda: sum(bool(each["error"]) for each in uploads(mount)) == number, "uploads to be refused")


def wait_until_gone(pid):
    wait_until(lambda: not lives(pid), "the daemon to end")


def recover(mount, *arguments, **options):
    """`thawfs cache recover` of the source, mounted or not."""
    names = ",".join(f"{name}={mount.options[name]}" for name in ("state_dir", "endpoint", "region"))
    return thawfs("cache", "recover", mount.source, "-o", names, *arguments, env=mount.env, **options)


def test_a_status_shows_what_is_not_stored_and_why(mount, emulator):
    refuse_uploads(emulator)
    (mount.path / "a b").write_bytes(content(5000))
    wait_until_refused(mount)
    document = thawfs_json("status", mount.path)["mounts"][0]
    assert document["upload_totals"] == {"files": 1, "bytes": 5000, "sent_bytes": 0, "failing": 1, "kept": 0}
    upload, = document["uploads"]
    assert (upload["key"], upload["bytes"], upload["complete"]) == ("a%20b", 5000, True)
    assert upload["error"].startswith("AccessDenied: not yours (HTTP 403, request id ")
    assert pathlib.Path(upload["staging"]).read_bytes() == content(5000)
    shown = thawfs("status", mount.path).stdout
    assert "1 file not stored yet, 4.9 KiB, 1 failing: AccessDenied" in shown and "a b: AccessDenied" in shown


def test_an_unmount_waits_until_all_is_stored_and_says_how_far_it_is(mount, emulator):
    refuse_uploads(emulator)
    (mount.path / "a").write_bytes(content(5000))
    (mount.path / "b").write_bytes(content(6000))
    wait_until_refused(mount, 2)
    with Thawfs("umount", mount.path) as umount:
        line = umount.process.stderr.readline()
        assert line.startswith("2 files not stored yet, 10.7 KiB")
        assert umount.is_running() and is_mounted(mount.path)
        emulator.clear_faults()
        status, output, errors = umount.finish()
    assert status == 0, errors
    assert not is_mounted(mount.path)
    assert mount.mount().returncode == 0
    assert (mount.path / "a").read_bytes() == content(5000)
    assert uploads(mount) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_an_interrupted_unmount_leaves_the_mount(mount, emulator, number):
    refuse_uploads(emulator)
    (mount.path / "a").write_bytes(content(5000))
    with Thawfs("umount", mount.path) as umount:
        assert umount.process.stderr.readline().startswith("1 file not stored yet")
        umount.signal(number)
        status, output, errors = umount.finish()
    assert status == 130
    assert f"{mount.path} is still mounted" in errors and "--now" in errors
    assert (mount.path / "a").read_bytes() == content(5000)


def test_an_unmount_gives_up_when_all_that_is_left_goes_on_failing(mount, emulator):
    refuse_uploads(emulator)
    (mount.path / "a").write_bytes(content(5000))
    done = thawfs("umount", mount.path)
    assert done.returncode == 1
    assert f"{mount.path} is still mounted: 1 file not stored yet" in done.stderr and "AccessDenied" in done.stderr
    assert str(mount.options["cache_dir"]) in done.stderr and "thawfs cache recover" in done.stderr
    assert is_mounted(mount.path)
    assert (mount.path / "a").read_bytes() == content(5000)
    emulator.clear_faults()
    wait_until(lambda: uploads(mount) == [], "the file to be stored")


def test_an_unmount_now_leaves_the_rest_to_the_next_mount(mount, emulator):
    refuse_uploads(emulator)
    (mount.path / "a").write_bytes(content(5000))
    wait_until_refused(mount)
    done = thawfs("umount", "--now", mount.path)
    assert done.returncode == 0, done.stderr
    assert "1 file not stored yet" in done.stderr and str(mount.options["cache_dir"]) in done.stderr
    assert not is_mounted(mount.path)
    emulator.clear_faults()
    assert mount.mount().returncode == 0
    assert (mount.path / "a").read_bytes() == content(5000)
    wait_until(lambda: uploads(mount) == [], "the file to be stored")


def test_what_is_left_when_others_unmount_is_stored_by_the_daemon(mount, emulator):
    emulator.fault({"latency_ms": 1500}, op="PutObject", times=1)
    (mount.path / "a").write_bytes(content(5000))
    pid = mount.pid()
    assert run("umount", mount.path).returncode == 0
    wait_until_gone(pid)
    assert emulator.requests()["counts"]["PutObject"] == 1
    assert json.loads(recover(mount, "--json").stdout) == {"uploads": []}


def test_a_signal_ends_the_mount_and_another_the_wait_for_uploads(mount, emulator):
    emulator.fault({"latency_ms": 3_600_000}, op="PutObject")
    (mount.path / "a").write_bytes(content(5000))
    pid = mount.pid()
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not is_mounted(mount.path), "the unmount")
    again = mount.mount()
    assert again.returncode != 0 and "still at work: 1 file not stored yet, 4.9 KiB" in again.stderr
    os.kill(pid, signal.SIGTERM)
    wait_until_gone(pid)
    emulator.clear_faults()
    assert mount.mount().returncode == 0
    assert (mount.path / "a").read_bytes() == content(5000)
    wait_until(lambda: uploads(mount) == [], "the file to be stored")


def test_what_is_not_stored_is_copied_out_of_a_mount(mount, emulator, tmp_path):
    (mount.path / "d").mkdir()
    refuse_uploads(emulator)
    (mount.path / "d/a").write_bytes(content(5000))
    wait_until_refused(mount)
    target = tmp_path / "out"
    done = thawfs("cache", "recover", mount.path, "--to", target)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"d/a -> {target}/d/a, 4.9 KiB\n"
    assert (target / "d/a").read_bytes() == content(5000)
    again = thawfs("cache", "recover", mount.path, "--to", target)
    assert again.returncode == 1 and "is there already" in again.stderr


def test_what_is_not_stored_is_copied_out_without_a_mount(mount, emulator, tmp_path):
    refuse_uploads(emulator)
    (mount.path / "a").write_bytes(content(5000))
    wait_until_refused(mount)
    while_mounted = json.loads(recover(mount, "--json").stdout)["uploads"]
    mount.kill()
    listed = json.loads(recover(mount, "--json").stdout)["uploads"]
    for each in while_mounted + listed:
        del each["state"], each["error"]
    assert listed == while_mounted and len(listed) == 1
    recovered, = json.loads(recover(mount, "--to", tmp_path / "out", "--json").stdout)["recovered"]
    assert (recovered["path"], recovered["failure"]) == (str(tmp_path / "out/a"), None)
    assert pathlib.Path(recovered["path"]).read_bytes() == content(5000)


def test_of_a_changed_object_its_changes_are_copied_out(mount, emulator, objects, tmp_path):
    size = 12 << 20
    objects.put("big", content(size))
    refuse_uploads(emulator)
    # An upload begins by getting what it has not.
    emulator.fault(REFUSED, op="GetObject", times=1_000_000)
    with open(mount.path / "big", "r+b") as file:
        file.seek(10)
        file.write(b"changed")
    wait_until_refused(mount)
    done = recover(mount, "--to", tmp_path / "out")
    assert "only the bytes 10-16: the rest is the object's" in done.stdout
    assert (tmp_path / "out/big").read_bytes() == bytes(10) + b"changed" + bytes(size - 17)


def test_what_is_copied_out_whole_can_be_forgotten(mount, emulator, tmp_path):
    refuse_uploads(emulator)
    (mount.path / "a").write_bytes(content(5000))
    wait_until_refused(mount)
    assert recover(mount, "--to", tmp_path / "early", "--forget").returncode != 0
    assert len(uploads(mount)) == 1
    mount.kill()
    done = recover(mount, "--to", tmp_path / "out", "--forget")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/a").read_bytes() == content(5000)
    assert (tmp_path / "out/a").stat().st_mode & 0o777 == 0o600
    assert json.loads(recover(mount, "--json").stdout) == {"uploads": []}
    assert not [each for each in pathlib.Path(mount.options["cache_dir"]).glob("*/staging/**/*") if each.is_file()]


def test_nothing_to_recover_is_said(mount):
    done = recover(mount)
    assert (done.returncode, done.stdout) == (0, "nothing waits to be stored\n")
    assert thawfs_json("cache", "recover", mount.path) == {"uploads": []}


def test_a_source_that_was_never_mounted_has_nothing_to_recover(mounting):
    done = recover(mounting())
    assert done.returncode != 0 and "was never mounted" in done.stderr


def test_a_journal_in_memory_is_warned_of(mounting):
    directory = pathlib.Path(f"/dev/shm/thawfs-{os.getpid()}")
    try:
        with mounting(options={"write_back": None, "cache_dir": directory}) as mount:
            assert f"{directory}/" in mount.log() and "is in memory (tmpfs)" in mount.log()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
