"""What is asked of thawfs, as numbers that the rows give: a ratio, a count or a size, and how large it may be."""

import dataclasses

PEERS = ("s3fs", "rclone")
MIB = 1 << 20


@dataclasses.dataclass(frozen=True)
class Bar:
    workload: str
    text: str
    most: float
    # Of a Rows; raises KeyError where a row is missing.
    measure: object


class Rows:
    def __init__(self, rows, sizes):
        self.rows = {(row.workload, row.subject): row for row in rows}
        self.sizes = sizes

    def row(self, workload, subject="thawfs"):
        return self.rows[workload, subject]

    def ratio(self, workload, subject, ours="thawfs"):
        """Our time as a multiple of another's."""
        return self.row(workload, ours).value / self.row(workload, subject).value

    def best_ratio(self, workload):
        """Our time as a multiple of the quickest peer's."""
        there = [self.row(workload, peer).value for peer in PEERS if (workload, peer) in self.rows]
        if not there:
            raise KeyError(PEERS)
        return self.row(workload).value / min(there)

    def requests(self, workload, *operations):
        counts = self.row(workload).median.requests
        return sum(counts.get(name, 0) for name in operations or counts)

    def peak(self, workload):
        return self.row(workload).median.peak_mib


BARS = [
    Bar("sequential", "time, of the C passthrough's cold read", 1.0, lambda rows: rows.ratio("sequential", "passthrough")),
    Bar("sequential", "time, of rclone's", 0.5, lambda rows: rows.ratio("sequential", "rclone")),
    Bar("sequential", "bytes fetched twice", 0, lambda rows: rows.row("sequential").median.refetched),
    Bar("far", "time, of parallel curl ranges'", 1.0, lambda rows: rows.ratio("far", f"{rows.sizes.ranges} x curl")),
    Bar("far", "bytes fetched twice", 0, lambda rows: rows.row("far").median.refetched),
    Bar("ls", "time, of the bare listings'", 1.3, lambda rows: rows.ratio("ls", "curl")),
    Bar("ls", "HEADs", 0, lambda rows: rows.requests("ls", "HeadObject")),
    Bar("ls, remounted", "requests", 0, lambda rows: rows.requests("ls, remounted")),
    Bar("ls, remounted", "time, of the C passthrough's", 1.3, lambda rows: rows.ratio("ls, remounted", "passthrough")),
    Bar("find", "requests", 130, lambda rows: rows.requests("find")),
    Bar("find", "time, of rclone's", 0.2, lambda rows: rows.ratio("find", "rclone")),
    Bar("in turn", "time, of one request at a time", 0.25, lambda rows: rows.ratio("in turn", "curl, one at a time")),
    Bar("at once", "time, of the quickest peer's", 1.0, lambda rows: rows.best_ratio("at once")),
    Bar("random", "MiB fetched", 32, lambda rows: rows.row("random").median.fetched / MIB),
    Bar("random", "time, of a round trip a read", 1.0, lambda rows: rows.ratio("random", "curl")),
    Bar("again", "requests", 0, lambda rows: rows.requests("again")),
    Bar("again", "time, of a local file's in the page cache", 1.3, lambda rows: rows.ratio("again", "page cache")),
    Bar("again, remounted", "bytes fetched, of the file's size", 0.0,
        lambda rows: rows.row("again, remounted").median.fetched / rows.sizes.kept),
    Bar("again, remounted", "time, of the local disk's", 1.3, lambda rows: rows.ratio("again, remounted", "disk")),
    Bar("ls", "peak memory of the daemon, MiB", 96, lambda rows: rows.peak("ls")),
    Bar("sequential", "peak memory of the daemon, MiB", 96, lambda rows: rows.peak("sequential")),
    # The default of the `memory` option.
    Bar("find, reported", "peak memory of the daemon, MiB", 128, lambda rows: rows.peak("find, reported")),
    Bar("hot stat", "time, of that with no reader blocked", 1.2,
        lambda rows: rows.ratio("hot stat", "thawfs, 0 blocked", f"thawfs, {rows.sizes.blocked} blocked")),
    Bar("hot read", "time, of that with no reader blocked", 1.2,
        lambda rows: rows.ratio("hot read", "thawfs, 0 blocked", f"thawfs, {rows.sizes.blocked} blocked")),
]


def judged(rows, sizes):
    """(bar, value) of each bar that the rows can tell of."""
    found = Rows(rows, sizes)
    for bar in BARS:
        try:
            yield bar, bar.measure(found)
        except (KeyError, ZeroDivisionError):
            continue
