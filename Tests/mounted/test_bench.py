"""What the benchmark's workloads cost in requests and bytes, in short: never in time. And that all of it runs.

The workloads are those of `scripts/bench`, of the sizes of its `--short`. `COSTS` is what they may cost: a change that
makes one cheaper tightens it here.
"""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import pytest

from benchmarks import listing, reading, small
from benchmarks.bench import SHORT, Bench
from support.emulator import thawfs_binary

ROOT = pathlib.Path(__file__).resolve().parents[2]
SECONDS = 240
PAGES = -(-SHORT.entries // 1000)
TREE_PAGES = -(-SHORT.directories * SHORT.files_each // 1000)


@dataclasses.dataclass(frozen=True)
class Cost:
    """The most that a workload may cost."""

    # By the name of the operation; what is not named is not to happen.
    requests: dict
    # Bytes of objects, and whether any may be sent twice.
    fetched: int = 0
    refetched: int = 0


# A listing for each of two names, and the attributes of the file.
LOOKUP = {"HeadObject": 1, "ListObjectsV2": 2}
GET_BYTES_MIN = 1 << 20
# As 32 MiB for 300 reads.
RANDOM_BYTES_MAX = SHORT.random_reads * (32 << 20) // 300


def small_cost(files):
    # Who opens, reads and closes a file while it is being decided that it is fetched ahead has it fetched twice.
    twice = 2
    return Cost(LOOKUP | {"GetObject": files + twice}, (files + twice) * SHORT.small, twice * SHORT.small)


COSTS = {
    "sequential": Cost(LOOKUP | {"GetObject": SHORT.big // GET_BYTES_MIN}, SHORT.big),
    "far": Cost(LOOKUP | {"GetObject": SHORT.wide // GET_BYTES_MIN}, SHORT.wide),
    "random": Cost(LOOKUP | {"GetObject": SHORT.random_reads}, RANDOM_BYTES_MAX, RANDOM_BYTES_MAX),
    "first, keeping": Cost(LOOKUP | {"GetObject": SHORT.kept // GET_BYTES_MIN}, SHORT.kept),
    # What the kernel has dropped meanwhile: some take pages back that were idle for a second. That nothing else is
    # fetched shows `test_a_second_reading_comes_from_the_page_cache`.
    "again": Cost({"GetObject": SHORT.big // GET_BYTES_MIN}, SHORT.big),
    "again, remounted": Cost({}),
    "ls": Cost({"ListObjectsV2": PAGES + 1}),
    "ls, again": Cost({}),
    "ls, remounted": Cost({}),
    # The root, the tree, two directories before it counts as a walk, and the rest by the thousand keys.
    "find": Cost({"ListObjectsV2": 4 + TREE_PAGES + 2}),
    "in turn": small_cost(SHORT.serial_files),
    "at once": small_cost(SHORT.parallel_files),
}


@pytest.mark.parametrize("part", [
    reading.sequential, reading.far, reading.at_random, reading.kept, listing.names, listing.tree, small.in_turn,
    small.at_once], ids=lambda part: part.__name__)
def test_a_workload_costs_no_more_requests_and_bytes_than_it_should(emulator, tmp_path, part):
    bench = Bench(emulator, tmp_path, SHORT)
    part(bench)
    rows = [row for row in bench.rows if row.subject == "thawfs"]
    assert rows
    for row in rows:
        cost, sample = COSTS[row.workload], row.median
        over = {name: count for name, count in sample.requests.items() if count > cost.requests.get(name, 0)}
        assert not over, f"{row.workload}: {sample.requests}"
        assert sample.fetched <= cost.fetched, f"{row.workload}: {sample.fetched} bytes"
        assert sample.refetched <= cost.refetched, f"{row.workload}: {sample.refetched} bytes twice"


def test_the_benchmark_compares_what_is_installed_and_says_what_came_out(tmp_path):
    found = tmp_path / "found.json"
    command = [sys.executable, ROOT / "scripts/bench", "--short", "--json", found, "sequential", "grep_frozen"]
    done = subprocess.run(command, env=os.environ | {"THAWFS_BIN": thawfs_binary(), "TMPDIR": str(tmp_path)},
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    document = json.loads(found.read_text())
    subjects = {row["subject"] for row in document["rows"] if row["workload"] == "sequential"}
    assert subjects == {"curl", "thawfs", "s3fs", "rclone", "passthrough", "passthrough, source in memory"}
    sizes = document["about"]["sizes"]
    for row in document["rows"]:
        samples = row["samples"]
        assert samples and row["median"] > 0, row
        assert row["workload"] in done.stdout and row["subject"] in done.stdout, row
        if row["workload"] == "sequential" and row["subject"] in ("curl", "s3fs", "rclone"):
            assert samples[0]["fetched"] == sizes["big"] and samples[0]["requests"]["GetObject"] >= 1, row
        if row["workload"] == "sequential" and row["subject"].startswith("passthrough"):
            assert samples[0]["requests"] == {} and samples[0]["fetched"] == 0, row
    judged = {(bar["workload"], bar["text"]): bar for bar in document["bars"]}
    assert judged["sequential", "bytes fetched twice"]["holds"]
    assert "sequential: bytes fetched twice" in done.stdout
