"""Waiting for a condition, with an end to it."""

import time

WAIT_SECONDS = 60


def wait_until(condition, what, seconds=WAIT_SECONDS):
    """Waits for a condition, and fails naming it when it does not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.01)
