import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from support.emulator import Emulator  # noqa: E402


@pytest.fixture
def emulator():
    """A fresh emulator in memory, with the bucket `bkt`."""
    with Emulator(buckets=["bkt"]) as running:
        yield running
