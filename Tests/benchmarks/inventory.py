"""A mount that is told of very many keys by an inventory report."""

import gzip
import hashlib
import io
import os
import tempfile
import time

from support.inventory import manifest
from support.mount import Mount
from support.objects import Objects

from .bench import Sample, memory
from .programs import timed

KEYS = int(os.environ.get("THAWFS_BENCH_KEYS", 1_000_000))
FILES = 10


def report_rows(first, last):
    """Rows of a report: thousand keys in a directory, a hundred directories in one above, two at the top."""
    for number in range(first, last):
        top = "ab"[number * 2 // KEYS]
        key = f"{top}%2Fyear%3D{number // 100_000:04d}%2Fday%3D{number // 1000 % 100:02d}%2Fobject-{number:09d}.bin"
        class_name = ("Standard", "IA", "ColdArchive")[number % 3]
        yield (f'"bkt","{key}","{number * 37 % 1_000_003}","{class_name}",'
               f'"202{number % 5}-0{number % 9 + 1}-1{number % 10}T10:20:{number % 60:02d}.000Z",'
               f'"{number * 0x9E3779B97F4A7C15 & (1 << 128) - 1:032X}",""\n')


def put_report(emulator):
    """Stores a report of objects that are not there; answers its manifest's key."""
    objects = Objects(emulator)
    files = []
    for number in range(FILES):
        first, last = (KEYS * (number + step) // FILES for step in (0, 1))
        packed = io.BytesIO()
        with gzip.open(packed, "wt", compresslevel=6) as file:
            file.writelines(report_rows(first, last))
        content = packed.getvalue()
        key = f"reports/data/{number}.csv.gz"
        objects.put(key, content)
        files.append((key, len(content), hashlib.md5(content).hexdigest()))
    document = manifest("bkt", "oss", time.time(), files)
    objects.put("reports/manifest.json", document)
    objects.put("reports/manifest.checksum", hashlib.md5(document).hexdigest().encode())
    return "reports/manifest.json"


def inventory(bench):
    """The first mount with a report, names read from it, and the next mount."""
    options = {"metadata_ttl": "forever", "inventory": put_report(bench.emulator)}
    with tempfile.TemporaryDirectory(dir=bench.directory) as directory:
        mount = Mount(bench.emulator, "oss://bkt", directory, options, seconds=600)
        measure(bench, mount)


def measure(bench, mount):
    bench.emulator.clear_requests()
    start = time.perf_counter()
    with mount:
        seconds = time.perf_counter() - start
        sample = Sample(seconds, *bench.settled(), *memory(mount.pid()))
        bench.add(f"mount, report of {KEYS:,} keys", "thawfs", sample)
        stored = sum(file.stat().st_size for file in mount.state.glob("*/metadata*"))
        bench.add("metadata store", "thawfs", Sample(stored / 1e6), "MB")
        deep = mount.path / "a/year=0000/day=07"
        bench.add("ls -lU of 1,000, reported", "thawfs",
                  bench.sample(lambda: timed("ls", "-lU", deep), pid=mount.pid()))
        bench.add("find | head -100000, reported", "thawfs",
                  bench.sample(lambda: timed("bash", "-c", f"find {mount.path} | head -100000"), pid=mount.pid()))
        bench.add("find, reported", "thawfs",
                  bench.sample(lambda: timed("find", mount.path, "-type", "f"), pid=mount.pid()))
    bench.emulator.clear_requests()
    start = time.perf_counter()
    with mount:
        sample = Sample(time.perf_counter() - start, *bench.settled(), *memory(mount.pid()))
        bench.add("mount, report known", "thawfs", sample)
