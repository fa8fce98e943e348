"""What `select`, `poll` and `epoll` say of open files, hot and frozen."""

import os
import select
import signal
import subprocess
import sys

import pytest

from support.archive import count, put, restores, s3_client, set_attribute, thaw, thaw_all, wait_until_known
from support.mount import wait_until
from support.reader import Program, read, run, sha256

CONTENT = os.urandom(50_000)
READY = select.POLLIN | select.POLLOUT | select.POLLRDNORM | select.POLLWRNORM
FAILED = select.POLLIN | select.POLLRDNORM | select.POLLERR

PRELUDE = """
import errno, hashlib, os, select, selectors, signal, sys, threading
signal.alarm(100)
ALL = select.POLLIN | select.POLLOUT | select.POLLRDNORM | select.POLLWRNORM
def say(*words):
    print(*words, flush=True)
def polling(descriptor):
    poller = select.poll()
    poller.register(descriptor, ALL)
    return lambda timeout=None: sum(events for _, events in poller.poll(timeout))
def outcome(descriptor):
    try:
        return hashlib.sha256(os.read(descriptor, 1 << 20)).hexdigest()
    except OSError as error:
        return errno.errorcode[error.errno]
"""

# Opens; on a word from us says what the file is now, then what it becomes, then what a read of it comes to.
WATCH = PRELUDE + """
descriptor = os.open(sys.argv[1], os.O_RDONLY)
events = polling(descriptor)
say(events(0))
sys.stdin.readline()
say(events(0))
say(events())
say(outcome(descriptor))
"""

# Is sent away by a read; on a word from us says what the file becomes soon, or 0.
SENT_AWAY = PRELUDE + """
descriptor = os.open(sys.argv[1], os.O_RDONLY)
events = polling(descriptor)
say(outcome(descriptor))
sys.stdin.readline()
say(events(10_000))
"""

# As the Go runtime reads: an edge-triggered epoll for all that can happen, made once, and a read before any wait.
EDGES = PRELUDE + """
descriptor = os.open(sys.argv[1], os.O_RDONLY | os.O_NONBLOCK)
epoll = select.epoll()
epoll.register(descriptor, select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET)
epoll.poll(0)
while (result := outcome(descriptor)) == "EAGAIN":
    say("parked")
    epoll.poll()
say(result)
"""

# As an event loop reads many files at once. Says how often it was sent away from each.
LOOP = PRELUDE + """
selector = selectors.EpollSelector()
for path in sys.argv[1:]:
    selector.register(os.open(path, os.O_RDONLY), selectors.EVENT_READ, {"path": path, "refusals": 0})
while selector.get_map():
    for key, _ in selector.select():
        result = outcome(key.fd)
        if result == "EAGAIN":
            key.data["refusals"] += 1
            say("refused", key.data["path"])
        else:
            selector.unregister(key.fd)
            say(os.path.basename(key.data["path"]), key.data["refusals"], result)
"""

# Closes a descriptor that it waits for, and then reads the file after all.
CLOSE = PRELUDE + """
first, second = (os.open(sys.argv[1], os.O_RDONLY) for _ in range(2))
say(outcome(first), outcome(second))
epoll = select.epoll()
epoll.register(first, select.EPOLLIN)
thread = threading.Thread(target=polling(second))
thread.start()
say(len(epoll.poll(0)))
os.close(first)
say("closed")
thread.join()
say(len(epoll.poll(0)), outcome(second))
"""

SELECT_THEN_READ = PRELUDE + """
descriptor = os.open(sys.argv[1], os.O_RDONLY)
select.select([descriptor], [], [])
say(outcome(descriptor))
"""

LOOK = PRELUDE + """
descriptor = os.open(sys.argv[1], os.O_RDONLY)
epoll = select.epoll()
epoll.register(descriptor, select.EPOLLIN)
say(polling(descriptor)(0), len(select.select([descriptor], [descriptor], [], 0)[0]), len(epoll.poll(0)))
"""


class Watcher(Program):
    """A Python program about a mount that is talked with line by line; an alarm ends one that hangs."""

    def __init__(self, text, *paths):
        super().__init__(sys.executable, "-I", "-S", "-c", text, *paths, stdin=subprocess.PIPE)

    def line(self):
        text = self.process.stdout.readline().strip()
        assert text, f"the program ended: {self.finish()}"
        return text

    def go_on(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()


def start_restore(archive, path):
    assert set_attribute(path, "restore", archive.quick_wish) is None


def look(path):
    """What poll, select and epoll say at once."""
    done = run(sys.executable, "-I", "-S", "-c", LOOK, path)
    assert done.returncode == 0, done.stderr
    return tuple(int(word) for word in done.stdout.split())


def test_a_hot_file_never_waits(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT)
    with archive.mount(emulator, tmp_path) as mount:
        emulator.clear_requests()
        assert look(mount.path / "f") == (READY, 1, 1)
        assert count(emulator, "GetObject") == 0


def test_polling_restores_nothing(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT, archive.quick)
    with archive.mount(emulator, tmp_path) as mount:
        # Nobody restores it: what a reader waits for is his own read.
        assert look(mount.path / "f") == (READY, 1, 1)
        assert restores(emulator) == 0
        start_restore(archive, mount.path / "f")
        assert look(mount.path / "f") == (0, 0, 0)
        assert restores(emulator) == 1


def test_a_program_that_selects_before_it_reads_is_served(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT, archive.quick)
    with archive.mount(emulator, tmp_path) as mount, Watcher(SELECT_THEN_READ, mount.path / "f") as watcher:
        thaw(emulator, "f", archive.quick_span)
        assert watcher.line() == sha256(CONTENT)
        assert restores(emulator) == 1


def test_whoever_polls_during_a_restore_is_woken_by_its_end(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT, archive.quick)
    with archive.mount(emulator, tmp_path) as mount, Watcher(WATCH, mount.path / "f") as watcher:
        assert watcher.line() == str(READY)
        start_restore(archive, mount.path / "f")
        watcher.go_on()
        assert watcher.line() == "0"
        thaw(emulator, "f", archive.quick_span)
        assert watcher.line() == str(READY)
        assert watcher.line() == sha256(CONTENT)
        assert restores(emulator) == 1


def test_a_refresh_that_finds_the_copy_wakes_whoever_polls(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT, archive.slow)
    options = {"restore_tier": "Standard", "restore_wait": "forever"}
    with archive.mount(emulator, tmp_path, **options) as mount, Watcher(WATCH, mount.path / "f") as watcher:
        watcher.line()
        assert set_attribute(mount.path / "f", "restore", archive.slow_wish) is None
        watcher.go_on()
        assert watcher.line() == "0"
        # By itself the mount asks only every few minutes.
        thaw(emulator, "f", archive.slow_span, mount.path / "f")
        assert watcher.line() == str(READY)
        assert watcher.line() == sha256(CONTENT)


def test_a_reader_that_waits_for_edges_is_woken(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT, archive.quick)
    options = {"on_frozen": "eagain", "eagain_at": "read"}
    with archive.mount(emulator, tmp_path, **options) as mount, Watcher(EDGES, mount.path / "f") as watcher:
        assert watcher.line() == "parked"
        thaw(emulator, "f", archive.quick_span)
        assert watcher.line() == sha256(CONTENT)
        assert restores(emulator) == 1


def test_an_event_loop_reads_many_frozen_files_and_is_sent_away_once_from_each(emulator, archive, tmp_path):
    names = [f"f{number}" for number in range(5)]
    for name in names:
        put(emulator, name, CONTENT + name.encode(), archive.quick)
    put(emulator, "hot", CONTENT)
    options = {"on_frozen": "eagain", "eagain_at": "read"}
    with archive.mount(emulator, tmp_path, **options) as mount:
        with Watcher(LOOP, *(mount.path / name for name in names), mount.path / "hot") as watcher:
            lines = [watcher.line() for _ in range(6)]
            assert sorted(lines) == sorted(
                [f"refused {mount.path / name}" for name in names] + [f"hot 0 {sha256(CONTENT)}"])
            thaw_all(emulator, archive.quick_span)
            lines = [watcher.line() for _ in range(5)]
            assert sorted(lines) == [f"{name} 1 {sha256(CONTENT + name.encode())}" for name in names]
        assert restores(emulator) == 5


def test_a_descriptor_may_be_closed_while_it_is_polled(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT, archive.quick)
    options = {"on_frozen": "eagain", "eagain_at": "read"}
    with archive.mount(emulator, tmp_path, **options) as mount:
        with Watcher(CLOSE, mount.path / "f") as watcher, Watcher(EDGES, mount.path / "f") as killed:
            assert watcher.line() == "EAGAIN EAGAIN"
            assert watcher.line() == "0"
            assert watcher.line() == "closed"
            assert killed.line() == "parked"
            killed.signal(signal.SIGKILL)
            killed.finish()
            thaw(emulator, "f", archive.quick_span)
            assert watcher.line() == f"0 {sha256(CONTENT)}"
        assert read(mount.path / "f") == ("ok", sha256(CONTENT))


@pytest.mark.without("oas", why="what others do to a vault is seen with its next inventory")
@pytest.mark.parametrize("end, errors", [
    ("deleted", {"ENOENT", "ESTALE"}), ("replaced", {"ESTALE"}), ("lost", {"EAGAIN"}), ("cancelled", {"EAGAIN"}),
])
def test_what_ends_a_restore_otherwise_wakes_whoever_polls(emulator, archive, tmp_path, end, errors):
    put(emulator, "f", CONTENT, archive.quick)
    options = {"on_frozen": "eagain", "eagain_at": "read"}
    with archive.mount(emulator, tmp_path, **options) as mount, Watcher(WATCH, mount.path / "f") as watcher:
        watcher.line()
        start_restore(archive, mount.path / "f")
        watcher.go_on()
        assert watcher.line() == "0"
        wait_until_known(mount.path / "f")
        if end == "deleted":
            s3_client(emulator).delete_object(Bucket="bkt", Key="f")
        elif end == "replaced":
            put(emulator, "f", b"another content")
        elif end == "lost":
            emulator.set_object("bkt", "f", state="frozen")
        else:
            assert run("setfattr", "-x", "user.thaw.restore", mount.path / "f").returncode == 0
        archive.hasten(mount.path / "f")
        assert watcher.line() == str(FAILED)
        # After a restore that was lost or taken back, a read asks for another.
        assert watcher.line() in errors


@pytest.mark.parametrize("where", [".", "d", "d/f"])
def test_after_a_restore_was_cancelled_who_was_sent_away_does_not_wait_for_it(emulator, archive, tmp_path, where):
    put(emulator, "d/f", CONTENT, archive.quick)
    emulator.fault({"status": 503, "retry_after": 5}, op="RestoreObject")
    options = {"on_frozen": "eagain", "eagain_at": "read"}
    with archive.mount(emulator, tmp_path, **options) as mount, Watcher(SENT_AWAY, mount.path / "d/f") as watcher:
        assert watcher.line() == "EAGAIN"
        assert run("setfattr", "-x", "user.thaw.restore", mount.path / where).returncode == 0
        watcher.go_on()
        assert int(watcher.line()) & select.POLLIN


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_end_of_the_mount_wakes_whoever_polls(emulator, archive, tmp_path, number):
    put(emulator, "f", CONTENT, archive.quick)
    with archive.mount(emulator, tmp_path) as mount, Watcher(WATCH, mount.path / "f") as watcher:
        watcher.line()
        start_restore(archive, mount.path / "f")
        watcher.go_on()
        assert watcher.line() == "0"
        os.kill(mount.pid(), number)
        assert int(watcher.line()) & select.POLLERR
        assert watcher.line() in {"EIO", "ENOTCONN", "ECONNABORTED"}
        wait_until(lambda: mount.pid() is None, "the daemon to end")
