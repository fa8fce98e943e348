"""Runs workloads on the file systems that are compared, and measures them.

    bench.compare([[Step("sequential", read)]], bench.mounts(), {"curl": ("sequential", fetch)}, rounds=3)

A step is timed; the requests it costs and the bytes that the store sent for it are counted, also those that are under
way when it returns. The visits of one comparison are mounts of the same file system, one after the other, with the
same directories; each round begins with fresh ones.
"""

import contextlib
import dataclasses
import os
import pathlib
import re
import statistics
import tempfile
import time

from support.waiting import wait_until

from .peers import MOUNTS
from .programs import drop_page_cache

MIB = 1 << 20
QUIET_SECONDS = 0.2


@dataclasses.dataclass(frozen=True)
class Sizes:
    big: int = 1 << 30
    wide: int = 512 << 20
    ranges: int = 8
    entries: int = 100_000
    directories: int = 1000
    files_each: int = 100
    small: int = 16 << 10
    serial_files: int = 500
    parallel_files: int = 1000
    readers: int = 8
    kept: int = 256 << 20
    sparse: int = 256 << 20
    random_reads: int = 300
    blocked: int = 200
    hot_files: int = 400
    frozen: int = 1000
    rounds: int = 3
    near: dict = dataclasses.field(default_factory=lambda: {"latency_ms": 10})
    far: dict = dataclasses.field(default_factory=lambda: {"latency_ms": 30, "bandwidth": 90_000_000})
    # Slower than a disk, also by many connections.
    slow: dict = dataclasses.field(default_factory=lambda: {"latency_ms": 30, "bandwidth": 5_000_000})


# To see that all of it works, and what it costs in requests and bytes.
SHORT = Sizes(
    big=24 * MIB, wide=16 * MIB, ranges=4, entries=2500, directories=12, files_each=10, small=4 << 10, serial_files=40,
    parallel_files=40, kept=8 * MIB, sparse=16 * MIB, random_reads=40, blocked=5, hot_files=10, frozen=10, rounds=1,
    near={"latency_ms": 1}, far={"latency_ms": 1, "bandwidth": 500_000_000},
    slow={"latency_ms": 1, "bandwidth": 2_000_000},
)


@dataclasses.dataclass(frozen=True)
class Step:
    """Something done to a mounted directory: `work(path)`, which may answer its own measure of the seconds."""

    workload: str
    work: object


@dataclasses.dataclass
class Sample:
    value: float
    requests: dict = dataclasses.field(default_factory=dict)
    # The bytes of objects that were sent, and how many of these had been sent before.
    fetched: int = 0
    refetched: int = 0
    # Of the daemon.
    peak_mib: float | None = None
    resident_mib: float | None = None
    cpu_seconds: float | None = None


@dataclasses.dataclass
class Row:
    """A workload's samples with one subject."""

    workload: str
    subject: str
    unit: str = "s"
    samples: list = dataclasses.field(default_factory=list)
    load: float = 0.0

    @property
    def median(self):
        """The sample in the middle; of two, the lesser."""
        middle = statistics.median_low(sample.value for sample in self.samples)
        return next(sample for sample in self.samples if sample.value == middle)

    @property
    def value(self):
        return self.median.value

    @property
    def requests(self):
        return sum(self.median.requests.values())


def fetched(lines):
    """The bytes of objects that these requests had sent, and how many of them were sent more than once."""
    total, ranges = 0, {}
    for line in lines:
        if line["op"] != "GetObject" or not line["bytes_out"]:
            continue
        first = int(re.match(r"bytes=(\d+)", line["range"] or "bytes=0")[1])
        ranges.setdefault(line["key"], []).append((first, first + line["bytes_out"]))
        total += line["bytes_out"]
    once = 0
    for parts in ranges.values():
        end = 0
        for first, last in sorted(parts):
            once += max(0, last - max(first, end))
            end = max(end, last)
    return total, total - once


def memory(pid):
    """The peak and the present resident memory of a process, in MiB."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    lines = dict(line.split(":", 1) for line in status.splitlines())
    return tuple(int(lines[name].split()[0]) / 1024 for name in ("VmHWM", "VmRSS"))


def cpu_seconds(pid):
    """The time that a process has spent on processors, its own and the kernel's."""
    words = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


class Bench:
    def __init__(self, emulator, directory, sizes, names=("thawfs",), rows=None, say=lambda text: None):
        self.emulator = emulator
        self.directory = pathlib.Path(directory)
        self.local = self.directory / "local"
        self.local.mkdir()
        self.sizes = sizes
        self.names = list(names)
        self.say = say
        self.rows = [] if rows is None else rows

    # -- The data, in the store and on this machine's disk

    def seed(self, prefix, count=1, size=0, local=True, **more):
        """Makes objects, and for the passthrough the same files, whose content is of no account."""
        self.emulator.seed("bkt", prefix=prefix, count=count, size=size, **more)
        if not local or "passthrough" not in self.names:
            return
        (self.local / prefix).mkdir(parents=True)
        for number in range(count):
            with open(self.local / prefix / f"{number:08d}", "wb") as file:
                if size < MIB:
                    file.truncate(size)
                    continue
                for _ in range(size // MIB):
                    file.write(os.urandom(MIB))
                file.flush()
                os.fsync(file.fileno())

    # -- Who is compared

    def mounts(self, kept=False, only=None, **options):
        """{name: make(directory)} for those that are there. `kept`: with what keeps bytes on disk; the other options
        are for thawfs."""
        return {name: lambda directory, make=MOUNTS[name]: make(self, directory, kept, options)
                for name in self.names if only is None or name in only}

    # -- Measuring

    @contextlib.contextmanager
    def network(self, effect):
        """The store answers as late and as slowly as the faults say."""
        if effect:
            self.emulator.fault(effect)
        try:
            yield
        finally:
            self.emulator.clear_faults()

    def settled(self):
        """Requests by name, bytes fetched and fetched again, once nothing moves any more."""
        seen = {}

        def is_quiet():
            if seen and time.monotonic() - seen["since"] < QUIET_SECONDS:
                return False
            now = self.emulator.requests()
            was, seen["now"], seen["since"] = seen.get("now"), now, time.monotonic()
            return was == now

        wait_until(is_quiet, "the requests that are under way")
        return seen["now"]["counts"], *fetched(seen["now"]["requests"])

    def sample(self, work, *arguments, pid=None):
        self.emulator.clear_requests()
        spent = cpu_seconds(pid) if pid else 0
        start = time.perf_counter()
        seconds = work(*arguments)
        seconds = time.perf_counter() - start if seconds is None else seconds
        counts = self.settled()
        return Sample(seconds, *counts, *((*memory(pid), cpu_seconds(pid) - spent) if pid else ()))

    def add(self, workload, subject, sample, unit="s"):
        row = next((row for row in self.rows if (row.workload, row.subject) == (workload, subject)), None)
        if row is None:
            self.rows.append(row := Row(workload, subject, unit))
        row.samples.append(sample)
        row.load = max(row.load, os.getloadavg()[0])
        self.say(f"{workload}, {subject}: {sample.value:.3f} {unit}")

    def compare(self, visits, mounts, floors=None, rounds=1, network=None):
        """`visits`: lists of steps; `mounts`: {name: make(directory)}; `floors`: {name: (workload, work)}."""
        for _ in range(rounds):
            for name, (workload, work) in (floors or {}).items():
                with self.network(network):
                    self.add(workload, name, self.sample(work))
            for name, make in mounts.items():
                with tempfile.TemporaryDirectory(prefix="mount-", dir=self.directory) as directory:
                    for steps in visits:
                        drop_page_cache(directory)
                        self.visit(name, make(directory), steps, network)

    def visit(self, name, mount, steps, network):
        with mount, self.network(network):
            for step in steps:
                self.add(step.workload, name, self.sample(step.work, mount.path, pid=mount.pid()))
