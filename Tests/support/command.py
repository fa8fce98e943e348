"""The commands that ask a mount's daemon: `thawfs restore` and `thawfs status`.

    done = thawfs("restore", "-r", mount.path)
    assert request_id(done) == 1
"""

import json
import re

from .emulator import thawfs_binary
from .reader import Program, run


def thawfs(*arguments, **options):
    """Runs a command to its end: `returncode`, `stdout`, `stderr`."""
    return run(thawfs_binary(), *arguments, **options)


def thawfs_json(*arguments):
    """The JSON document that a command which succeeds prints."""
    done = thawfs(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class Thawfs(Program):
    """A command under way."""

    def __init__(self, *arguments, **options):
        super().__init__(thawfs_binary(), *arguments, **options)


def request_id(done):
    """The number of the one request that `thawfs restore` made."""
    assert done.returncode == 0, done.stderr
    found = re.findall(r"^request (\d+):", done.stdout, re.M)
    assert len(found) == 1, done.stdout
    return int(found[0])
