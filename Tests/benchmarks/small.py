"""Small files: in turn, and by several readers at once."""

from .bench import Step
from .programs import object_urls, read_files, requests_in_turn


def compare_small(bench, workload, count, readers):
    prefix = f"{workload}/"
    bench.seed(prefix, count=count, size=bench.sizes.small)

    def bare():
        keys = [f"{prefix}{number:08d}" for number in range(count)]
        return requests_in_turn(object_urls(bench.emulator, keys))

    step = Step(workload, lambda path: read_files(path / prefix, readers))
    floors = {"curl, one at a time": (workload, bare)}
    bench.compare([[step]], bench.mounts(), floors, bench.sizes.rounds, bench.sizes.near)


def in_turn(bench):
    """Small files read one after the other, in the order of the directory."""
    compare_small(bench, "in turn", bench.sizes.serial_files, 1)


def at_once(bench):
    """Small files read by several readers, each taking the next."""
    compare_small(bench, "at once", bench.sizes.parallel_files, bench.sizes.readers)
