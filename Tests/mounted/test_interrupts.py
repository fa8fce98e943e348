"""Readers that wait for a restore die at once when told to, and only then; nobody waits for a mount that is gone."""

import contextlib
import os
import signal
import sys

import pytest

from support.archive import put, restores, thaw
from support.mount import is_mounted, lives, wait_until
from support.reader import Program, Reader, is_blocked_reading, run, sha256

CONTENT = b"frozen content" * 1000

# Reads a file with a handler for SIGUSR1 and SIGURG installed: with SA_RESTART or without, as argv[2] says. The
# reading is libc's own read(2), without Python's repetition of it after EINTR.
HANDLING_READER = """
import ctypes, errno, hashlib, os, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
descriptor = os.open(sys.argv[1], os.O_RDONLY)
for number in (signal.SIGUSR1, signal.SIGURG):
    signal.signal(number, lambda *_: None)
    signal.siginterrupt(number, sys.argv[2] == "interrupts")
content = b""
buffer = ctypes.create_string_buffer(1 << 20)
while count := libc.read(descriptor, buffer, len(buffer)):
    if count < 0:
        print("read", errno.errorcode[ctypes.get_errno()])
        sys.exit(1)
    content += buffer.raw[:count]
print("ok", hashlib.sha256(content).hexdigest())
"""


class HandlingReader(Reader):
    def __init__(self, path, style):
        self.path = path
        Program.__init__(self, sys.executable, "-I", "-c", HANDLING_READER, path, style)


@contextlib.contextmanager
def default_action(number):
    """Programs begun here do not ignore the signal, as they would below `nohup` or in a script's background."""
    ignored = signal.getsignal(number) == signal.SIG_IGN
    if ignored:
        signal.signal(number, signal.SIG_DFL)
    try:
        yield
    finally:
        if ignored:
            signal.signal(number, signal.SIG_IGN)


@pytest.mark.only("s3", why="signals reach readers through the kernel, whatever the store")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT,
                                    signal.SIGABRT])
def test_a_fatal_signal_ends_a_waiting_reader_at_once(emulator, archive, tmp_path, number):
    put(emulator, "f", CONTENT, archive.quick)
    with archive.mount(emulator, tmp_path) as mount:
        with default_action(number), Program("cat", mount.path / "f") as reader:
            wait_until(lambda: is_blocked_reading(reader.pid, mount.path / "f"), "cat to block")
            reader.signal(number)
            assert reader.finish(10)[0] == -number
        # Its death neither ended the restore nor asked for it again.
        with Reader(mount.path / "f") as reader:
            reader.wait_until_blocked()
            thaw(emulator, "f", archive.quick_span)
            assert reader.result() == ("ok", sha256(CONTENT))
        assert restores(emulator) == 1


@pytest.mark.only("s3", why="signals reach readers through the kernel, whatever the store")
@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGURG])
@pytest.mark.parametrize("style", ["restarts", "interrupts"])
def test_a_handled_harmless_signal_does_not_break_the_read(emulator, archive, tmp_path, number, style):
    put(emulator, "f", CONTENT, archive.quick)
    with archive.mount(emulator, tmp_path) as mount, HandlingReader(mount.path / "f", style) as reader:
        reader.wait_until_blocked()
        for _ in range(3):
            reader.signal(number)
        thaw(emulator, "f", archive.quick_span)
        assert reader.result() == ("ok", sha256(CONTENT))
        assert restores(emulator) == 1


@pytest.mark.only("s3", why="signals reach readers through the kernel, whatever the store")
@pytest.mark.parametrize("style", ["restarts", "interrupts"])
@pytest.mark.parametrize("fatal", [signal.SIGKILL, signal.SIGTERM])
def test_a_fatal_signal_after_a_harmless_one_still_ends_the_reader(emulator, archive, tmp_path, style, fatal):
    put(emulator, "f", CONTENT, archive.quick)
    with archive.mount(emulator, tmp_path) as mount, HandlingReader(mount.path / "f", style) as reader:
        reader.wait_until_blocked()
        reader.signal(signal.SIGUSR1)
        # Taken by the kernel: the reader waits on, now uninterruptibly but for fatal signals.
        wait_until(lambda: pending(reader.pid, signal.SIGUSR1), "the signal to be pending")
        wait_until(reader.is_blocked, "the reader to go on waiting")
        reader.signal(fatal)
        assert reader.finish(15)[0] == -fatal


def pending(pid, number):
    with open(f"/proc/{pid}/status") as status:
        masks = [int(line.split()[1], 16) for line in status if line.startswith(("SigPnd:", "ShdPnd:"))]
    return any(mask >> (number - 1) & 1 for mask in masks)


def test_the_readers_that_stay_get_their_bytes(emulator, archive, tmp_path):
    for name in "fg":
        put(emulator, name, CONTENT, archive.quick)
    with archive.mount(emulator, tmp_path) as mount:
        readers = [Reader(mount.path / name) for name in "fg" for _ in range(10)]
        try:
            for reader in readers:
                reader.wait_until_blocked()
            for reader in readers[:5]:
                reader.signal(signal.SIGKILL)
            assert [reader.finish(10)[0] for reader in readers[:5]] == [-signal.SIGKILL] * 5
            assert all(reader.is_blocked() for reader in readers[5:])
            thaw(emulator, "f", archive.quick_span)
            assert {reader.result() for reader in readers[5:]} == {("ok", sha256(CONTENT))}
            assert restores(emulator) == 2
        finally:
            for reader in readers:
                reader.__exit__()


def test_all_readers_of_a_file_die_and_the_restore_goes_on(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT, archive.quick)
    with archive.mount(emulator, tmp_path) as mount:
        with Reader(mount.path / "f") as reader:
            reader.wait_until_blocked()
            # Killed any sooner, it may never have been heard of.
            wait_until(lambda: restores(emulator) == 1, "the request")
            reader.signal(signal.SIGKILL)
            assert reader.finish(10)[0] == -signal.SIGKILL
        thaw(emulator, "f", archive.quick_span)
        with Reader(mount.path / "f") as reader:
            assert reader.result() == ("ok", sha256(CONTENT))
        assert restores(emulator) == 1


def test_a_detached_mounts_readers_can_still_be_killed(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT, archive.quick)
    with archive.mount(emulator, tmp_path) as mount, Reader(mount.path / "f") as reader:
        reader.wait_until_blocked()
        pid = mount.pid()
        assert run("umount", "-l", mount.path).returncode == 0
        assert not is_mounted(mount.path)
        reader.signal(signal.SIGKILL)
        assert reader.finish(10)[0] == -signal.SIGKILL
        wait_until(lambda: not lives(pid), "the daemon to end")


def test_a_stopped_daemon_ends_its_readers(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT, archive.quick)
    with archive.mount(emulator, tmp_path) as mount:
        readers = [Reader(mount.path / "f") for _ in range(5)]
        try:
            for reader in readers:
                reader.wait_until_blocked()
            pid = mount.pid()
            os.kill(pid, signal.SIGTERM)
            for reader in readers:
                result = reader.result(15)
                assert result[0] == "read", result
            wait_until(lambda: not lives(pid), "the daemon to end")
            wait_until(lambda: not is_mounted(mount.path), "the mount to go")
        finally:
            for reader in readers:
                reader.__exit__()


def test_a_killed_daemon_ends_its_readers(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT, archive.quick)
    with archive.mount(emulator, tmp_path) as mount, Reader(mount.path / "f") as reader:
        reader.wait_until_blocked()
        mount.kill()
        assert reader.result(15) in {("read", "ENOTCONN"), ("read", "ECONNABORTED")}
