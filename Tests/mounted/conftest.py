import pytest

from support.archive import ARCHIVES, vault
from support.moto import Moto
from support.mount import Mount
from support.objects import Objects
from support.stores import EmulatorStore, MotoStore


DIALECTS = ["oss", "s3", "cos", "oas"]


def pytest_configure(config):
    config.addinivalue_line("markers", "without(dialect, ..., why): in these dialects the test can show nothing")
    config.addinivalue_line("markers", "only(dialect, ..., why): the other dialects would show nothing else")


def pytest_generate_tests(metafunc):
    """Runs a test in every dialect, unless it, or its module, says in which not, and why."""
    named = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    is_named = hasattr(metafunc.module, "dialect") or any("dialect" in names for names in named)
    if "dialect" in metafunc.fixturenames and not is_named:
        wanted = DIALECTS
        for mark in metafunc.definition.iter_markers():
            if mark.name in ("without", "only"):
                assert mark.kwargs["why"] and set(mark.args) <= set(DIALECTS), mark
                wanted = [name for name in wanted if (name in mark.args) == (mark.name == "only")]
        metafunc.parametrize("dialect", wanted, indirect=True)


@pytest.fixture
def dialect(request):
    if request.param == "oas":
        vault(request.getfixturevalue("emulator"))
    return request.param


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
