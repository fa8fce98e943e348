"""Writing, beside s3fs: large files, small ones, and several writers."""

from support.archive import s3_client
from support.objects import Objects

from .bench import Step
from .programs import timed, together

MIB = 1 << 20
LARGE_MIB = 512
SMALL_FILES = 200
WRITERS = 8
WRITER_MIB = 64
WRITER_FILES = 50


def dd_to(path, mib):
    return ["dd", "if=/dev/zero", f"of={path}", "bs=1M", f"count={mib}", "conv=fsync"]


def room(path):
    """A new directory, of a name of its own for each file system."""
    made = path / f"written-{path.name}"
    made.mkdir()
    return made


def large(path):
    return timed(*dd_to(room(path) / "large", LARGE_MIB))


def small(path):
    """Small files, one after the other, as a program makes them."""
    directory = room(path)
    for number in range(SMALL_FILES):
        (directory / str(number)).write_bytes(b"x" * 1000)


def small_by_many(path):
    """As many shells, each making files one after the other."""
    script = 'for i in $(seq "$2"); do echo content > "$1-$i"; done'
    directory = room(path)
    return together(*(["sh", "-c", script, "sh", directory / str(number), WRITER_FILES]
                      for number in range(WRITERS)))


def large_by_many(path):
    directory = room(path)
    return together(*(dd_to(directory / str(number), WRITER_MIB) for number in range(WRITERS)))


def clear(emulator):
    """Deletes all that was written."""
    client = s3_client(emulator)
    for page in client.get_paginator("list_objects_v2").paginate(Bucket="bkt", Prefix="written-"):
        keys = [{"Key": found["Key"]} for found in page.get("Contents", [])]
        if keys:
            client.delete_objects(Bucket="bkt", Delete={"Objects": keys})


def writing(bench):
    """A large file, small files in turn and by several writers, and several large ones."""
    mounts = bench.mounts(only=("thawfs", "s3fs"))

    def bare():
        objects = Objects(bench.emulator)
        for number in range(SMALL_FILES):
            objects.put(f"bare/{number}", b"x" * 1000)

    near, none = bench.sizes.near, None
    names = {
        f"write {LARGE_MIB} MiB, fsync": (large, none),
        f"write {SMALL_FILES} small": (small, near),
        f"write {WRITERS} x {WRITER_FILES} small": (small_by_many, near),
        f"write {WRITERS} x {WRITER_MIB} MiB": (large_by_many, none),
    }
    for workload, (work, network) in names.items():
        floors = {"bare PUTs": (workload, bare)} if work is small else {}
        bench.compare([[Step(workload, work)]], mounts, floors, network=network)
        clear(bench.emulator)
