"""Waiting for a condition, with an end to it."""

import time


def eventually(condition, seconds=20):
    """Returns once `condition()` is true; fails when it is not within so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {condition}"
        time.sleep(0.01)
