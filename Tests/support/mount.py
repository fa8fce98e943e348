"""A mounted thawfs, for tests that use it as a user would.

    with Mount(emulator, "oss://bkt", tmp_path) as mount:
        assert (mount.path / "a.txt").read_bytes() == b"..."

Leaving the block unmounts, ends the daemon by pid, and fails the test if the daemon left anything behind.
"""

import os
import pathlib
import signal
import subprocess
import threading

from .emulator import Emulator, thawfs_binary
from .waiting import wait_until

MOUNT_SECONDS = 30
# It waits for uploads.
UNMOUNT_SECONDS = 60
# A mounted test that takes longer hangs on the mount: its daemon is killed, and every system call on it fails.
HANG_SECONDS = 240
# The variables of a dialect's key and secret.
KEYS = {
    "oss": ("OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET"), "s3": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    "cos": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "oas": ("OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET"),
}


def environment(dialect, **extra):
    """The environment with the emulator's credentials for a dialect, and without anybody else's."""
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith(("AWS_", "OSS_", "ALIBABA_", "IBM_", "COS_", "THAWFS_")) or name == "THAWFS_BIN"}
    kept.update(dict(zip(KEYS[dialect], (Emulator.ACCESS_KEY, Emulator.SECRET_KEY))))
    kept.update(extra)
    return kept


def is_mounted(path):
    with open("/proc/self/mountinfo") as table:
        return any(line.split(" ")[4].replace("\\040", " ") == str(path) for line in table)


def lives(pid):
    """Whether the process has not ended. One that nobody has reaped yet has: a daemon's parent is the machine's first
    process, which may take seconds."""
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def processes_naming(text):
    """The pids of living processes with this text on their command lines."""
    found = []
    for file in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = file.read_bytes()
        except OSError:
            continue
        if str(text).encode() in line:
            found.append(int(file.parent.name))
    return found


class Mount:
    """`emulator` may be None for another store; then name its endpoint in `options`. It may take `seconds` to mount."""

    def __init__(self, emulator, source, directory, options=None, env=None, seconds=MOUNT_SECONDS):
        self.emulator = emulator
        self.source = source
        self.seconds = seconds
        self.dialect = source.split(":")[0]
        directory = pathlib.Path(directory)
        self.path = directory / "mnt"
        self.state = directory / "state"
        self.options = {"state_dir": self.state, "cache_dir": directory / "cache"}
        if emulator:
            region = {"oss": "cn-hangzhou", "s3": "us-east-1", "cos": "us-south", "oas": "cn-hangzhou"}[self.dialect]
            self.options |= {"endpoint": emulator.url, "region": region}
        self.options |= options or {}
        self.env = environment(self.dialect) | (env or {})

    def command(self):
        """The command line that mounts; an option whose value is None is a switch."""
        return [thawfs_binary(), "mount", self.source, str(self.path), "-o", self.option_text()]

    def option_text(self):
        """What is behind `-o`."""
        return ",".join(name if value is None else f"{name}={value}" for name, value in self.options.items())

    def mount(self):
        """Mounts and answers the finished command: `returncode` and `stderr` (text)."""
        self.path.mkdir(exist_ok=True)
        return subprocess.run(self.command(), env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=self.seconds)

    def __enter__(self):
        done = self.mount()
        assert done.returncode == 0, f"mount failed: {done.stderr}"
        self.watchdog = threading.Timer(HANG_SECONDS, self.kill)
        self.watchdog.daemon = True
        self.watchdog.start()
        if self.emulator:
            self.emulator.mounts.append(self)
        return self

    def __exit__(self, *_):
        self.watchdog.cancel()
        if self.emulator:
            self.emulator.mounts.remove(self)
        self.unmount()

    def log(self):
        """The daemon's log so far."""
        return "".join(file.read_text() for file in sorted(self.state.glob("*/log")))

    def pid(self):
        """The pid of the daemon, from the lock it holds; None when there is no living one."""
        for lock in self.state.glob("*/lock"):
            words = lock.read_text().split()
            if len(words) > 1 and lives(words[1]):
                return int(words[1])
        return None

    def kill(self):
        """`kill -9`, and removes the dead mount that is left."""
        pid = self.pid()
        if pid:
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda: not lives(pid), "the daemon to die")
        if is_mounted(self.path):
            subprocess.run(["fusermount3", "-u", "-z", str(self.path)], check=True)

    def unmount(self):
        """Unmounts as a user would; ends the daemon by force when that fails, and then fails."""
        pid = self.pid()
        try:
            if is_mounted(self.path):
                done = subprocess.run([thawfs_binary(), "umount", str(self.path)], stdin=subprocess.DEVNULL,
                                      stderr=subprocess.PIPE, text=True, timeout=UNMOUNT_SECONDS)
                assert done.returncode == 0, f"umount failed: {done.stderr}"
            if pid:
                wait_until(lambda: not lives(pid), "the daemon to end after the unmount",
                           UNMOUNT_SECONDS)
            assert not is_mounted(self.path), "still mounted"
        finally:
            self.kill()
