import pytest

from support.archive import ARCHIVES
from support.moto import Moto
from support.mount import Mount
from support.objects import Objects
from support.stores import EmulatorStore, MotoStore


@pytest.fixture(params=["oss", "s3"])
def dialect(request):
    return request.param


@pytest.fixture
def archive(dialect):
    """The archive classes of the test's dialect."""
    return ARCHIVES[dialect]


@pytest.fixture(params=["oss", "s3", "oas"])
def any_archive(request):
    """The archive classes of each dialect, vaults too. Not for tests in which somebody else changes an object while it
    is mounted, of classes, tiers and days, or of what is readable at once: a vault has none of these.
    """
    return ARCHIVES[request.param]


@pytest.fixture
def objects(emulator):
    """Puts and deletes objects of the bucket `bkt`."""
    return Objects(emulator)


@pytest.fixture
def mounting(emulator, dialect, tmp_path):
    """Makes a Mount of the bucket `bkt`, or of a prefix of it, in the dialect of the test."""
    def make(prefix="", options=None, env=None):
        source = f"{dialect}://bkt" + (f"/{prefix}" if prefix else "")
        return Mount(emulator, source, tmp_path, options=options, env=env)
    return make


@pytest.fixture
def moto(tmp_path):
    with Moto(tmp_path / "moto.log") as running:
        yield running


@pytest.fixture(params=["oss", "s3", "moto"])
def store(request, tmp_path):
    """A store with the bucket `bkt`: each dialect of the emulator, and moto."""
    return make_store(request, request.param, tmp_path)


@pytest.fixture
def emulated(request, emulator, dialect, tmp_path):
    """The emulator's bucket `bkt` in each dialect."""
    return make_store(request, dialect, tmp_path)


def make_store(request, kind, directory):
    if kind == "moto":
        return MotoStore(request.getfixturevalue("moto"), directory)
    return EmulatorStore(request.getfixturevalue("emulator"), kind, directory)
