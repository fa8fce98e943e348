"""Files that are frozen: what they cost others, and what is refused."""

import pathlib
import subprocess
import tempfile

from support.mount import Mount
from support.waiting import wait_until

from .bench import Sample
from .programs import LATENCIES, SECONDS, told


def beside_readers(bench):
    """A stat and a read of hot files, beside many readers blocked on frozen ones and beside none."""
    blocked = bench.sizes.blocked
    bench.seed("hot/", count=bench.sizes.hot_files, size=16384, local=False)
    bench.seed("cold/", count=blocked, size=4096, local=False, storage_class="Archive")
    for _ in range(bench.sizes.rounds):
        for count in (0, blocked):
            with tempfile.TemporaryDirectory(dir=bench.directory) as directory:
                measure_beside(bench, directory, count)


def measure_beside(bench, directory, count):
    with Mount(bench.emulator, "oss://bkt", directory) as mount:
        readers = [subprocess.Popen(["cat", mount.path / "cold" / f"{number:08d}"], stdout=subprocess.DEVNULL,
                                    stderr=subprocess.DEVNULL) for number in range(count)]
        try:
            wait_until(lambda: mount.log().count("started") >= count, "all restores to be started")
            threads = len(list(pathlib.Path(f"/proc/{mount.pid()}/task").iterdir()))
            stat, read = told(LATENCIES, mount.path / "hot")
        finally:
            for reader in readers:
                reader.kill()
                reader.wait()
    subject = f"thawfs, {count} blocked"
    bench.add("hot stat", subject, Sample(stat), "us")
    bench.add("hot read", subject, Sample(read), "us")
    bench.add("threads", subject, Sample(threads), "")


def grep(bench):
    """`grep -r` over frozen files that are refused."""
    for behaviour in ("refuse", "eagain"):
        prefix = f"frozen-{behaviour}/"
        bench.seed(prefix, count=bench.sizes.frozen, size=1000, local=False, storage_class="ColdArchive")
        with tempfile.TemporaryDirectory(dir=bench.directory) as directory:
            with Mount(bench.emulator, f"oss://bkt/{prefix}", directory, {"on_frozen": behaviour}) as mount:
                def run(path):
                    done = subprocess.run(["grep", "-r", "x", path], stdout=subprocess.DEVNULL,
                                          stderr=subprocess.DEVNULL, timeout=SECONDS)
                    assert done.returncode == 2
                bench.add("grep -r, frozen", f"thawfs, {behaviour}", bench.sample(run, mount.path, pid=mount.pid()))
