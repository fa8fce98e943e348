"""Names: a directory of very many files, and a tree of directories."""

from .bench import Step
from .peers import Passthrough
from .programs import listing_urls, requests_in_turn, timed


def names(bench):
    """`ls -lU` of a directory of very many files: cold, again, and after a remount."""
    count = bench.sizes.entries
    bench.seed("many/", count=count, size=1000)

    def bare():
        return requests_in_turn(listing_urls(bench.emulator, "many/", count))

    def ls(path):
        return timed("ls", "-lU", path / "many")

    visits = [[Step("ls", ls), Step("ls, again", ls)], [Step("ls, remounted", ls)]]
    mounts = bench.mounts(metadata_ttl="forever")
    if "passthrough" in mounts:
        mounts["passthrough, xattr"] = lambda directory: Passthrough(bench, directory, "xattr")
    bench.compare(visits, mounts, {"curl": ("ls", bare)}, rounds=1, network=bench.sizes.near)


def tree(bench):
    """`find -type f` over directories with some files each."""
    for number in range(bench.sizes.directories):
        bench.seed(f"tree/{number:04d}/", count=bench.sizes.files_each, size=1000)

    def bare():
        count = bench.sizes.directories * bench.sizes.files_each
        return requests_in_turn(listing_urls(bench.emulator, "tree/", count))

    def find(path):
        return timed("find", path / "tree", "-type", "f")

    bench.compare([[Step("find", find)]], bench.mounts(), {"curl, flat": ("find", bare)}, rounds=1,
                  network=bench.sizes.near)
