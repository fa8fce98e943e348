"""What came out: a table, and all of it as JSON."""

import dataclasses
import datetime
import json
import os
import pathlib
import platform
import subprocess

from .bars import judged
from .peers import RCLONE_ARGUMENTS, S3FS_OPTIONS, version

ROOT = pathlib.Path(__file__).resolve().parents[2]
MIB = 1 << 20


def number(value, digits=1):
    return "" if value is None else f"{value:,.{digits}f}"


def cells(row, ours):
    """The columns of a row. `ours` is thawfs's time of the same workload."""
    sample = row.median
    counts = " ".join(f"{name}={count}" for name, count in sorted(sample.requests.items()))
    return [
        row.subject, f"{row.value:,.3f} {row.unit}",
        number(row.value / ours, 2) if ours else "",
        str(row.requests) if sample.requests else "", number(sample.fetched / MIB) if sample.fetched else "",
        number(sample.refetched / MIB) if sample.refetched else "",
        number(sample.peak_mib), number(sample.resident_mib), number(sample.cpu_seconds, 2), counts,
    ]


def table(rows):
    """Lines: workloads in order, below each who did it."""
    lines = []
    workloads = dict.fromkeys(row.workload for row in rows)
    ours = {row.workload: row.value for row in rows if row.subject == "thawfs"}
    widths = (30, 14, 8, 8, 9, 8, 8, 8, 7)
    head = ("", "median", "/thawfs", "requests", "MiB", "again", "peak MiB", "RSS MiB", "CPU s")
    lines.append(" ".join(f"{text:>{width}}" for text, width in zip(head, widths)))
    for workload in workloads:
        lines.append(workload)
        for row in (row for row in rows if row.workload == workload):
            name, *others, counts = cells(row, ours.get(workload))
            line = f"  {name:<28} " + " ".join(f"{text:>{width}}" for text, width in zip(others, widths[1:]))
            lines.append(f"{line}  {counts}".rstrip())
    return lines


def bars(rows, sizes):
    """Lines: what is asked of thawfs, and whether it is so."""
    lines = []
    for bar, value in judged(rows, sizes):
        verdict = "holds" if value <= bar.most else "MISSED"
        lines.append(f"{bar.workload + ': ' + bar.text:<64} {value:>9.2f}, at most {bar.most:g}: {verdict}")
    return lines


def about(sizes, names):
    """Where, when and with what this was measured."""
    def command(*words):
        done = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        return done.stdout.strip()

    memory = pathlib.Path("/proc/meminfo").read_text().split("\n")[0].split()[1]
    return {
        "when": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "commit": command("git", "describe", "--always", "--dirty"),
        "kernel": platform.release(), "cpus": os.cpu_count(), "memory_mib": int(memory) // 1024,
        "load": os.getloadavg(), "sizes": dataclasses.asdict(sizes),
        "settings": {"s3fs": S3FS_OPTIONS, "rclone": RCLONE_ARGUMENTS},
        "versions": {name: version(name) for name in ("s3fs", "rclone", "passthrough", "curl") if
                     name in names or name == "curl"},
    }


def short(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def markdown(rows, sizes, facts):
    """The table and the bars, for docs/performance-run.md."""
    versions = "; ".join(facts["versions"].values())
    lines = [
        "# A run of scripts/bench", "",
        f"{facts['when']}, commit {facts['commit']}; Linux {facts['kernel']}, {facts['cpus']} processors,"
        f" {facts['memory_mib'] // 1024} GiB; load {min(row.load for row in rows):.0f} to"
        f" {max(row.load for row in rows):.0f}. {versions}. Of {sizes.rounds} rounds the median."
        " [What each row is](performance.md).", "",
        "| | | Median | of thawfs's | Requests | MiB | fetched twice | Peak MiB | CPU s |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    ours = {row.workload: row.value for row in rows if row.subject == "thawfs"}
    last = None
    for row in sorted(rows, key=lambda row: [other.workload for other in rows].index(row.workload)):
        sample = row.median
        name = f"`{row.workload}`" if row.workload != last else ""
        last = row.workload
        cells = [name, row.subject, f"{short(row.value)} {row.unit}",
                 short(row.value / ours[row.workload]) if row.workload in ours else "",
                 f"{row.requests:,}" if sample.requests else "",
                 *(short(size / MIB) if size else "" for size in (sample.fetched, sample.refetched)),
                 short(sample.peak_mib) if sample.peak_mib else "",
                 f"{sample.cpu_seconds:.2f}" if sample.cpu_seconds is not None else ""]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", "| Bar | Value | At most | |", "|---|--:|--:|---|"]
    for bar, value in judged(rows, sizes):
        verdict = "holds" if value <= bar.most else "**missed**"
        lines.append(f"| `{bar.workload}`: {bar.text} | {short(value)} | {bar.most:g} | {verdict} |")
    return "\n".join(lines) + "\n"


def document(rows, sizes, facts):
    return json.dumps({
        "about": facts,
        "rows": [{"workload": row.workload, "subject": row.subject, "unit": row.unit, "median": row.value,
                  "load": row.load, "samples": [dataclasses.asdict(sample) for sample in row.samples]}
                 for row in rows],
        "bars": [{"workload": bar.workload, "text": bar.text, "most": bar.most, "value": value,
                  "holds": value <= bar.most} for bar, value in judged(rows, sizes)],
    }, indent=1)
