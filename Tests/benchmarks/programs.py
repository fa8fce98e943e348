"""What is run on a mounted directory, and on the bare store: each answers the seconds it took."""

import json
import os
import pathlib
import subprocess
import sys
import time

from support.archive import s3_client

SECONDS = 900
PAGE = 1000

# Reads the files named on its input, one after the other or by as many threads as it is told; says how long that took.
READ_FILES = """
import os, queue, sys, threading, time
def read(path):
    descriptor = os.open(path, os.O_RDONLY)
    while os.read(descriptor, 1 << 17): pass
    os.close(descriptor)
def work():
    try:
        while True: read(names.get_nowait())
    except queue.Empty: pass
start = time.perf_counter()
names = queue.SimpleQueue()
for name in sorted(os.listdir(sys.argv[1])): names.put(os.path.join(sys.argv[1], name))
threads = [threading.Thread(target=work) for _ in range(int(sys.argv[2]))]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(time.perf_counter() - start)
"""

# Reads 4 KiB at each of the offsets.
READ_AT = """
import json, os, sys, time
descriptor = os.open(sys.argv[1], os.O_RDONLY)
offsets = json.loads(sys.argv[2])
start = time.perf_counter()
for offset in offsets: assert len(os.pread(descriptor, 4096, offset)) == 4096
print(time.perf_counter() - start)
"""

# Median microseconds of a stat that the kernel must ask for, and of the first read of 4 KiB, of a directory's files.
LATENCIES = """
import ctypes, json, os, statistics, sys, time
libc = ctypes.CDLL(None, use_errno=True)
AT_FDCWD, AT_STATX_FORCE_SYNC, STATX_BASIC_STATS = -100, 0x2000, 0x7ff
found = ctypes.create_string_buffer(256)
stats, reads = [], []
for name in sorted(os.listdir(sys.argv[1])):
    path = os.path.join(sys.argv[1], name)
    start = time.perf_counter()
    failed = libc.statx(AT_FDCWD, path.encode(), AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, found)
    stats.append(time.perf_counter() - start)
    assert not failed
    descriptor = os.open(path, os.O_RDONLY)
    start = time.perf_counter()
    os.pread(descriptor, 4096, 0)
    reads.append(time.perf_counter() - start)
    os.close(descriptor)
print(json.dumps([statistics.median(stats) * 1e6, statistics.median(reads) * 1e6]))
"""


def timed(*command, **options):
    """Runs a program, which must succeed."""
    start = time.perf_counter()
    done = subprocess.run([str(word) for word in command], stdin=options.pop("stdin", subprocess.DEVNULL),
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=SECONDS, **options)
    seconds = time.perf_counter() - start
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return seconds


def told(script, *words):
    """Runs Python in a process of its own; answers what it printed. Its start is not in the seconds it tells."""
    done = subprocess.run([sys.executable, "-I", "-c", script, *map(str, words)], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def together(*commands):
    """Runs programs at once."""
    start = time.perf_counter()
    running = [subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for command in commands]
    for process, command in zip(running, commands):
        _, errors = process.communicate(timeout=SECONDS)
        assert process.returncode == 0, f"{command}: {errors}"
    return time.perf_counter() - start


def dd(path):
    return timed("dd", f"if={path}", "of=/dev/null", "bs=1M")


def read_files(path, readers=1):
    return told(READ_FILES, path, readers)


def read_at(path, offsets):
    return told(READ_AT, path, json.dumps(offsets))


def drop_page_cache(path):
    """Makes the kernel forget what it has in memory of a file, or of all files below a directory."""
    path = pathlib.Path(path)
    for file in [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]:
        descriptor = os.open(file, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


# -- The bare store


def object_urls(emulator, keys):
    client = s3_client(emulator)
    return [client.generate_presigned_url("get_object", {"Bucket": "bkt", "Key": key}) for key in keys]


def listing_urls(emulator, prefix, count):
    """Of as many pages as so many keys take. The marker of a page is not known ahead, and of no account here."""
    page = {"Bucket": "bkt", "Prefix": prefix, "MaxKeys": PAGE}
    return [s3_client(emulator).generate_presigned_url("list_objects_v2", page)] * -(-count // PAGE)


def fetch(emulator, key):
    """One GET with curl."""
    return timed("curl", "-sf", "-o", "/dev/null", *object_urls(emulator, [key]))


def fetch_ranges(emulator, key, size, count):
    """One object in as many ranges at once, each with a curl of its own."""
    address, = object_urls(emulator, [key])
    step = size // count
    return together(*(("curl", "-sf", "-o", "/dev/null", "-r", f"{first}-{first + step - 1}", address)
                      for first in range(0, size, step)))


def requests_in_turn(addresses, ranges=None):
    """GETs one after the other on one connection."""
    lines = []
    for number, address in enumerate(addresses):
        lines += ["next"] * bool(number) + ["silent", "fail", f'url = "{address}"', 'output = "/dev/null"']
        lines += [f'range = "{ranges[number]}"'] if ranges else []
    script = "\n".join(lines)
    start = time.perf_counter()
    done = subprocess.run(["curl", "-K", "-"], input=script, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                          text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    return time.perf_counter() - start
