"""The times of a run as a picture: a panel for each workload, a bar for each who did it."""

import math

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

COLUMNS = 3
OURS, THEIRS, FLOOR = "#1f6fb2", "#b5b5b5", "#7aa974"
PEERS = ("s3fs", "rclone")


def colour(subject):
    if subject.startswith("thawfs"):
        return OURS
    return THEIRS if subject in PEERS else FLOOR


def save(rows, path):
    workloads = list(dict.fromkeys(row.workload for row in rows if row.unit in ("s", "us")))
    lines = math.ceil(len(workloads) / COLUMNS)
    figure, axes = plt.subplots(lines, COLUMNS, figsize=(13, 1.9 * lines), squeeze=False)
    for panel in axes.flat[len(workloads):]:
        panel.axis("off")
    for panel, workload in zip(axes.flat, workloads):
        shown = [row for row in rows if row.workload == workload]
        values = [row.value for row in shown]
        bars = panel.barh([row.subject for row in shown], values, color=[colour(row.subject) for row in shown])
        panel.bar_label(bars, [f"{row.value:,.3g} {row.unit}" for row in shown], padding=3, fontsize=8)
        panel.set_title(workload, fontsize=9, loc="left")
        panel.set_xlim(0, max(values) * 1.25 or 1)
        panel.invert_yaxis()
        panel.tick_params(labelsize=8)
        panel.xaxis.set_visible(False)
        panel.spines[["top", "right", "bottom"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
