import pytest

from support.archive import ARCHIVES
from support.moto import Moto
from support.mount import Mount
from support.objects import Objects
from support.stores import EmulatorStore, MotoStore


# IBM's dialect is S3's but for what tells of archives, and how a class comes about. It runs where objects are read and
# written; its archives, which take hours and are looked at every few minutes, have tests of their own (test_cos.py).
COS_SUITES = {
    "test_bucket_attributes", "test_bucket_command", "test_expiry", "test_reading", "test_writing", "test_xattrs",
}


def pytest_generate_tests(metafunc):
    """Runs a test in every dialect that concerns it, unless it, or its module, says in which."""
    named = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    is_named = hasattr(metafunc.module, "dialect") or any("dialect" in names for names in named)
    if "dialect" in metafunc.fixturenames and not is_named:
        module = metafunc.module.__name__.rsplit(".", 1)[-1]
        metafunc.parametrize("dialect", ["oss", "s3"] + ["cos"] * (module in COS_SUITES), indirect=True)


@pytest.fixture
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
