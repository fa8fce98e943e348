import pytest

from support.archive import ARCHIVES
from support.mount import Mount
from support.objects import Objects


@pytest.fixture(params=["oss", "s3"])
def dialect(request):
    return request.param


@pytest.fixture(params=["oss", "s3"])
def archive(request):
    """Each dialect's archive classes in turn."""
    return ARCHIVES[request.param]


@pytest.fixture
def archive(dialect):
    """The archive classes of the test's dialect."""
    return ARCHIVES[dialect]


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
