"""Large files: one after the other, at random, and again."""

import random

from .bench import Step
from .programs import dd, drop_page_cache, fetch, fetch_ranges, object_urls, read_at, requests_in_turn


def local_file(bench, key):
    return bench.local / key


def cold(bench, key, read):
    """Reads a file of a mount; what the passthrough reads it from is not in the page cache either."""
    def work(path):
        if local_file(bench, key).exists():
            drop_page_cache(local_file(bench, key))
        return read(path / key)
    return work


def sequential(bench):
    """`dd bs=1M` of one large file, without latency."""
    key = "big/00000000"
    bench.seed("big/", size=bench.sizes.big)
    floors = {"curl": ("sequential", lambda: fetch(bench.emulator, key))}
    bench.compare([[Step("sequential", cold(bench, key, dd))]], bench.mounts(), floors, bench.sizes.rounds)
    if "passthrough" in bench.names:
        make = {"passthrough, source in memory": bench.mounts()["passthrough"]}
        dd(local_file(bench, key))
        bench.compare([[Step("sequential", lambda path: dd(path / key))]], make, rounds=bench.sizes.rounds)


def far(bench):
    """`dd bs=1M` of a large file from a store far away: each request is late, each connection slow."""
    key, size = "far/00000000", bench.sizes.wide
    bench.seed("far/", size=size, local=False)
    floors = {f"{bench.sizes.ranges} x curl":
              ("far", lambda: fetch_ranges(bench.emulator, key, size, bench.sizes.ranges))}
    mounts = bench.mounts(only=("thawfs", "s3fs", "rclone"))
    bench.compare([[Step("far", lambda path: dd(path / key))]], mounts, floors, bench.sizes.rounds, bench.sizes.far)


def at_random(bench):
    """Reads of 4 KiB at random places, one after the other."""
    key = "sparse/00000000"
    bench.seed("sparse/", size=bench.sizes.sparse)
    places = random.Random(6).sample(range(bench.sizes.sparse // 4096), bench.sizes.random_reads)
    offsets = [place * 4096 for place in places]

    def bare():
        ranges = [f"{offset}-{offset + 4095}" for offset in offsets]
        return requests_in_turn(object_urls(bench.emulator, [key]) * len(ranges), ranges)

    step = Step("random", cold(bench, key, lambda path: read_at(path, offsets)))
    bench.compare([[step]], bench.mounts(), {"curl": ("random", bare)}, bench.sizes.rounds, bench.sizes.near)


def again(bench):
    """A file of a slow store once more: from the kernel's cache, and after a remount from what was kept on disk."""
    key = "again/00000000"
    bench.seed("again/", size=bench.sizes.kept)

    def read(path):
        return dd(path / key)

    visits = [[Step("first, keeping", cold(bench, key, dd)), Step("again", read)],
              [Step("again, remounted", cold(bench, key, dd))]]
    mounts = bench.mounts(kept=True, metadata_ttl="forever")
    bench.compare(visits, mounts, local_floors(bench, key), network=bench.sizes.slow)


def local_floors(bench, key):
    """The same file on this machine, from the page cache and from the disk."""
    file = local_file(bench, key)
    if not file.exists():
        return {}

    def from_memory():
        dd(file)
        return dd(file)

    def from_disk():
        drop_page_cache(file)
        return dd(file)

    return {"page cache": ("again", from_memory), "disk": ("again, remounted", from_disk)}
