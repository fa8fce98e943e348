"""Programs that read files of a mount, always as processes of their own and always with a time limit.

    with Reader(path) as reader:
        reader.wait_until_blocked()
        emulator.advance("1m")
        assert reader.result() == ("ok", sha256)
"""

import hashlib
import os
import pathlib
import select
import signal
import subprocess
import sys

from .mount import wait_until

PROGRAM_SECONDS = 60

# Says in one line how far it came: `open ERRNO`, `read ERRNO`, or `ok SHA256`.
READ = """
import errno, hashlib, os, sys
def failed(what, error):
    print(what, errno.errorcode[error.errno], flush=True)
    sys.exit(1)
try:
    descriptor = os.open(sys.argv[1], os.O_RDONLY)
except OSError as error:
    failed("open", error)
digest = hashlib.sha256()
try:
    while piece := os.read(descriptor, 1 << 20):
        digest.update(piece)
except OSError as error:
    failed("read", error)
print("ok", digest.hexdigest())
"""

# For each line on its input reads so many bytes more, and answers `COUNT SHA256 ERRNO`: of all the bytes so far, and
# what ended the step early, or 0.
STEP = """
import errno, hashlib, os, sys
descriptor = os.open(sys.argv[1], os.O_RDONLY)
digest = hashlib.sha256()
count = 0
for line in sys.stdin:
    end, ended = count + int(line), 0
    try:
        while count < end and (piece := os.read(descriptor, min(end - count, 1 << 20))):
            digest.update(piece)
            count += len(piece)
    except OSError as error:
        ended = errno.errorcode[error.errno]
    print(count, digest.hexdigest(), ended, flush=True)
"""


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def run(*command, **options):
    """Runs a program to its end: `returncode`, and `stdout` and `stderr` as text."""
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True,
               "timeout": PROGRAM_SECONDS, "env": os.environ | {"LC_ALL": "C"}} | options
    return subprocess.run([str(word) for word in command], **options)


def is_blocked_reading(pid, path):
    """Whether the process sits in read(2) of this file."""
    try:
        words = pathlib.Path(f"/proc/{pid}/syscall").read_text().split()
        # x86-64 and arm64.
        if words[0] not in ({"x86_64": "0", "aarch64": "63"}[os.uname().machine],):
            return False
        return os.readlink(f"/proc/{pid}/fd/{int(words[1], 16)}") == str(path)
    except (FileNotFoundError, ProcessLookupError, IndexError):
        return False


class Program:
    """A program under way; killed on leaving the block if it has not ended."""

    def __init__(self, *command, **options):
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True,
                   "env": os.environ | {"LC_ALL": "C"}} | options
        self.process = subprocess.Popen([str(word) for word in command], **options)

    @property
    def pid(self):
        return self.process.pid

    def is_running(self):
        return self.process.poll() is None

    def finish(self, seconds=PROGRAM_SECONDS):
        """Waits for its end: exit status, output and errors."""
        output, errors = self.process.communicate(timeout=seconds)
        return self.process.returncode, output, errors

    def signal(self, number):
        self.process.send_signal(number)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.is_running():
            self.process.send_signal(signal.SIGKILL)
        self.process.communicate(timeout=PROGRAM_SECONDS)


class Reader(Program):
    """Opens a file and reads all of it."""

    def __init__(self, path):
        self.path = path
        super().__init__(sys.executable, "-I", "-S", "-c", READ, path)

    def is_blocked(self):
        return is_blocked_reading(self.pid, self.path)

    def wait_until_blocked(self):
        wait_until(lambda: self.is_blocked() or not self.is_running(), "the reader to block")
        if not self.is_running():
            raise AssertionError(f"the reader did not block: {self.finish()}")
        return self

    def result(self, seconds=PROGRAM_SECONDS):
        """`("ok", SHA256)`, `("open", ERRNO)` or `("read", ERRNO)`."""
        status, output, errors = self.finish(seconds)
        assert output, f"the reader ended with {status}: {errors}"
        return tuple(output.split())


class Stepper(Program):
    """Has a file open, and reads it in steps, when told to."""

    def __init__(self, path):
        self.path = path
        super().__init__(sys.executable, "-I", "-S", "-c", STEP, path, stdin=subprocess.PIPE)
        assert self.step(0)[0] == 0

    def start_step(self, size):
        self.process.stdin.write(f"{size}\n")
        self.process.stdin.flush()

    def end_step(self, seconds=PROGRAM_SECONDS):
        """`(COUNT, SHA256, ERRNO)` of all that was read so far; ERRNO is None when nothing ended the step early."""
        assert select.select([self.process.stdout], [], [], seconds)[0], f"no answer within {seconds} s"
        line = self.process.stdout.readline()
        assert line, f"the program ended with {self.finish()}"
        count, digest, errno = line.split()
        return int(count), digest, None if errno == "0" else errno

    def step(self, size):
        self.start_step(size)
        return self.end_step()

    def is_blocked(self):
        return is_blocked_reading(self.pid, self.path)


def read(path):
    """Reads a file in a process of its own; see `Reader.result`."""
    with Reader(path) as reader:
        return reader.result()
