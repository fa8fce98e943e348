"""Random scripts of operations run in step on the mount and on a local directory, and both answer the same: results,
errnos and content after every step, remounts and `kill -9` among them.

A failure prints its seed and the least script that fails; such scripts are kept in SCRIPTS. The environment has more:
THAWFS_MODEL_SEED (where the seeds begin), THAWFS_MODEL_TIMES (how many times as many scripts).
"""

import os

import pytest

from support.scripts import LARGE, SMALL
from support.trees import Trees

pytestmark = pytest.mark.without("oas", why="what is written to a vault cannot be read before it is retrieved")

SEED = int(os.environ.get("THAWFS_MODEL_SEED", "1"))
TIMES = float(os.environ.get("THAWFS_MODEL_TIMES", "1"))
# So many scripts' trees are compared at once after a remount.
BATCH = 25
REMOUNT = (("remount",), 0.002)
KILL = (("kill",), 0.01)
CREATE = os.O_RDWR | os.O_CREAT


def trees(store, **options):
    return Trees(store.mount(**options), store.directory / "local", store.stored.tree)


def explore(store, count, part=0, steps=100, sizes=SMALL, interruptions=(REMOUNT,), **options):
    with trees(store, **options) as both:
        for number in range(int(count * TIMES)):
            both.explore(SEED + 10_000 * part + number, steps, sizes=sizes, interruptions=interruptions)
            if number % BATCH == BATCH - 1:
                both.compare_finished()
        both.compare_finished()


@pytest.mark.parametrize("store, part, count", [
    ("oss", 0, 40), ("oss", 1, 40), ("s3", 2, 40), ("s3", 3, 40), ("moto", 4, 10),
], indirect=["store"])
def test_a_mount_does_what_a_local_directory_does(store, part, count):
    explore(store, count, part)


@pytest.mark.parametrize("store, part, count", [("oss", 5, 20), ("s3", 6, 20), ("moto", 7, 5)], indirect=["store"])
def test_what_was_closed_outlives_kill_9(store, part, count):
    explore(store, count, part, interruptions=(REMOUNT, KILL), write_back="on")


@pytest.mark.without("cos", why="parts are uploaded and copied as at S3")
@pytest.mark.parametrize("write_back", ["off", "on"])
def test_files_of_many_parts_do_what_local_ones_do(emulated, write_back):
    interruptions = (KILL,) if write_back == "on" else (REMOUNT,)
    explore(emulated, 4, steps=40, sizes=LARGE, interruptions=interruptions, write_back=write_back)


# What random scripts come to rarely, and what they have found.
SCRIPTS = {
    "an unlinked open file is read and written": [
        ("open", 0, "a", CREATE, 0o644), ("write", 0, 5000, 1), ("close", 0), ("open", 0, "a", os.O_RDWR, 0),
        ("unlink", "a"), ("listdir", ""), ("pread", 0, 9000, 0), ("pwrite", 0, 100, 4950, 2), ("fstat", 0),
        ("pread", 0, 9000, 0), ("fsync", 0), ("close", 0), ("stat", "a")],
    "a file that was never closed is unlinked": [
        ("open", 0, "a", CREATE, 0o644), ("write", 0, 5000, 1), ("unlink", "a"), ("pread", 0, 9000, 0),
        ("open", 1, "a", CREATE | os.O_EXCL, 0o600), ("write", 1, 10, 2), ("close", 0), ("close", 1), ("cat", "a")],
    "a directory whose only file is open and unlinked is empty": [
        ("mkdir", "d", 0o755), ("open", 0, "d/a", CREATE, 0o644), ("write", 0, 10, 1), ("unlink", "d/a"),
        ("listdir", "d"), ("rmdir", "d"), ("pread", 0, 100, 0), ("write", 0, 10, 2), ("close", 0), ("tree",)],
    "a file is renamed while it is written": [
        ("open", 0, "a", CREATE, 0o644), ("write", 0, 5000, 1), ("rename", "a", "b"), ("write", 0, 5000, 2),
        ("stat", "a"), ("stat", "b"), ("close", 0), ("cat", "b")],
    "an open file is replaced by a rename": [
        ("open", 0, "a", CREATE, 0o644), ("write", 0, 5000, 1), ("close", 0), ("open", 0, "a", os.O_RDWR, 0),
        ("open", 1, "b", CREATE, 0o644), ("write", 1, 100, 2), ("close", 1), ("rename", "b", "a"),
        ("pread", 0, 9000, 0), ("write", 0, 10, 3), ("close", 0), ("cat", "a"), ("tree",)],
    "a directory is renamed above a file that is written": [
        ("mkdir", "d", 0o755), ("open", 0, "d/a", CREATE, 0o644), ("write", 0, 5000, 1), ("rename", "d", "e"),
        ("write", 0, 5000, 2), ("cat", "e/a"), ("close", 0), ("tree",)],
    "two descriptors write one file": [
        ("open", 0, "a", CREATE, 0o644), ("open", 1, "a", os.O_RDWR, 0), ("write", 0, 100, 1), ("pread", 1, 500, 0),
        ("pwrite", 1, 100, 50, 2), ("close", 1), ("pread", 0, 500, 0), ("ftruncate", 0, 120), ("cat", "a"),
        ("close", 0), ("cat", "a")],
    "a file is truncated by name while it is open": [
        ("open", 0, "a", CREATE, 0o644), ("write", 0, 5000, 1), ("truncate", "a", 100), ("fstat", 0),
        ("write", 0, 10, 2), ("pread", 0, 9000, 0), ("close", 0), ("cat", "a")],
    "a time that is set before the close stays": [
        ("open", 0, "a", CREATE, 0o644), ("write", 0, 5000, 1), ("futime", 0, 10**9), ("close", 0), ("stat", "a"),
        ("remount",), ("stat", "a")],
    "a link's target is made through it": [
        ("symlink", "b", "a"), ("cat", "a"), ("open", 0, "a", CREATE, 0o644), ("write", 0, 10, 1), ("close", 0),
        ("cat", "b"), ("lstat", "a"), ("readlink", "a"), ("rename", "a", "c"), ("cat", "c"), ("unlink", "c"),
        ("tree",)],
    "a directory with all kinds is renamed and back": [
        ("mkdir", "d", 0o700), ("mkdir", "d/e", 0o755), ("symlink", "../x", "d/l"), ("open", 0, "d/e/a", CREATE, 0o600),
        ("write", 0, 100, 1), ("close", 0), ("setxattr", "d/e/a", "user.a", 5, 1, 0), ("utime", "d/e/a", 10**9),
        ("rename", "d", "f"), ("tree",), ("remount",), ("tree",), ("rename", "f", "d"), ("tree",)],
}


@pytest.mark.parametrize("write_back", ["off", "on"])
def test_scripts_worth_keeping_end_alike(emulated, write_back):
    with trees(emulated, write_back=write_back) as both:
        failures = {name: both.play(script) for name, script in SCRIPTS.items()}
        text = "\n".join(f"{name}: {failure}" for name, failure in failures.items() if failure)
        assert not text, text
        both.compare_finished()
