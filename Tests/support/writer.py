"""Programs that write on a mount, as processes of their own: they hold nothing of it open when their daemon dies.

    with Recorder(path) as recorder:
        recorder.wait_for(10)
        mount.kill()
        acknowledged = recorder.rest()
"""

import os
import select
import subprocess
import sys
import time

from .reader import PROGRAM_SECONDS, Program, run

RECORD_BYTES = 5000

# Appends numbered records, after the last whole one that is there, and prints the number of each when fsync returned.
RECORD = """
import os, sys
size = int(sys.argv[2])
file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o644)
number = os.fstat(file).st_size // size
os.ftruncate(file, number * size)
while True:
    os.pwrite(file, b"%08d" % number * (size // 8), number * size)
    os.fsync(file)
    print(number, flush=True)
    number += 1
"""

# Makes numbered files and prints the number of each when close returned.
MAKE = """
import os, sys
number = 0
while True:
    file = os.open(f"{sys.argv[1]}/{number}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    os.write(file, b"%08d" % number * 500)
    os.close(file)
    print(number, flush=True)
    number += 1
"""

# Says in one line how far it came: `open ERRNO`, `write ERRNO`, `fsync ERRNO`, `close ERRNO` or `ok`.
WRITE = """
import errno, os, sys
path, flags, size, syncs = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "fsync"
def attempt(what, call, *arguments):
    try:
        return call(*arguments)
    except OSError as error:
        print(what, errno.errorcode[error.errno], flush=True)
        sys.exit(1)
file = attempt("open", os.open, path, flags, 0o644)
left = size
while left:
    left -= attempt("write", os.write, file, b"w" * min(left, 1 << 17))
if syncs:
    attempt("fsync", os.fsync, file)
attempt("close", os.close, file)
print("ok", flush=True)
"""


class Counter(Program):
    """A program that prints numbers."""

    def __init__(self, program, *arguments):
        super().__init__(sys.executable, "-I", "-S", "-c", program, *arguments)
        self.last = -1
        self.text = b""

    def read(self, seconds):
        """One more piece of its output; false at the end of it."""
        assert select.select([self.process.stdout], [], [], seconds)[0], f"no output within {seconds} s"
        piece = os.read(self.process.stdout.fileno(), 1 << 16)
        *lines, self.text = (self.text + piece).split(b"\n")
        for line in lines:
            assert int(line) == self.last + 1 or self.last == -1, "the numbers have a gap"
            self.last = int(line)
        return piece != b""

    def wait_for(self, count):
        """Waits until it has printed so many numbers more."""
        wanted = self.last + count
        deadline = time.monotonic() + PROGRAM_SECONDS
        while self.last < wanted:
            assert self.read(deadline - time.monotonic()), f"it ended early: {self.process.stderr.read()}"

    def rest(self):
        """Waits for its end; answers the last number that it printed."""
        while self.read(PROGRAM_SECONDS):
            pass
        self.process.wait(PROGRAM_SECONDS)
        return self.last


class Recorder(Counter):
    def __init__(self, path, size=RECORD_BYTES):
        super().__init__(RECORD, path, size)


class Maker(Counter):
    def __init__(self, directory):
        super().__init__(MAKE, directory)


def records(content, size=RECORD_BYTES):
    """How many whole records the content begins with."""
    count = 0
    while content[count * size:(count + 1) * size] == b"%08d" % count * (size // 8):
        count += 1
    return count


class Holder(Program):
    """A Python program that has the functions of `os` and does what each line says; answers `ok` or an errno."""

    LOOP = """
import errno, os, sys
for line in sys.stdin:
    try:
        exec(line)
        print("ok", flush=True)
    except OSError as error:
        print(errno.errorcode[error.errno], flush=True)
"""

    def __init__(self, directory):
        super().__init__(sys.executable, "-I", "-c", self.LOOP, stdin=subprocess.PIPE, cwd=directory)

    def begin(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def end(self, seconds=PROGRAM_SECONDS):
        assert select.select([self.process.stdout], [], [], seconds)[0], f"no answer within {seconds} s"
        return self.process.stdout.readline().strip()

    def do(self, line):
        self.begin(line)
        return self.end()


def write(path, size=1000, flags=os.O_WRONLY | os.O_CREAT, fsync=False):
    """Writes in a process of its own; see WRITE."""
    done = run(sys.executable, "-I", "-S", "-c", WRITE, path, flags, size, "fsync" if fsync else "close")
    assert done.stdout, done.stderr
    return tuple(done.stdout.split())
