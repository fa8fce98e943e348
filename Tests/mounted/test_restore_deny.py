"""Programs whose reads never restore: `restore_deny` and the list that ships with it."""

import os
import shutil
import sys

import pytest

from support.archive import attribute, put, restores, set_attribute, thaw
from support.mount import wait_until
from support.reader import run

CONTENT = os.urandom(100_000)

# Opens under one name and reads under another: `PATH NAME [NAME]`. Says how far it came, as support.reader does.
RENAMED = """
import ctypes, errno, os, sys, threading
def work():
    path, *names = sys.argv[1:]
    libc = ctypes.CDLL(None)
    step = "open"
    try:
        for name in names:
            libc.prctl(15, name.encode())
            if step == "open":
                descriptor = os.open(path, os.O_RDONLY)
                step = "read"
        os.read(descriptor, 10)
        print("ok")
    except OSError as error:
        print(step, errno.errorcode[error.errno])
thread = threading.Thread(target=work)
thread.start()
thread.join()
"""


def cat_named(directory, name):
    """A copy of cat(1) that the kernel knows by this name."""
    program = directory / "bin" / name
    program.parent.mkdir(exist_ok=True)
    shutil.copy(shutil.which("cat"), program)
    return program


def read_in_thread(path, *names):
    """What a thread of these names, one after the other, comes to."""
    return run(sys.executable, "-I", "-S", "-c", RENAMED, path, *names).stdout.strip()


def assert_denied(done):
    assert done.returncode != 0 and "Object is remote" in done.stderr and done.stdout == "", done


@pytest.mark.only("s3", why="names are compared before any store is asked")
@pytest.mark.parametrize("name", ["updatedb", "updatedb.plocate", "baloo_file_extractor", "tracker-extract-3",
                                  "tumblerd", "gdk-pixbuf-thumbnailer", "recollindex"])
def test_an_indexers_read_restores_nothing(emulator, tmp_path, archive, name):
    put(emulator, "frozen", CONTENT, archive.quick)
    put(emulator, "hot", CONTENT)
    with archive.mount(emulator, tmp_path) as mount:
        program = cat_named(tmp_path, name)
        assert_denied(run(program, mount.path / "frozen"))
        assert restores(emulator) == 0
        assert run(program, mount.path / "hot", text=False).stdout == CONTENT


def test_a_denial_is_told_once_with_the_program_and_the_option(emulator, tmp_path, archive):
    for key in "abc":
        put(emulator, key, CONTENT, archive.quick)
    with archive.mount(emulator, tmp_path) as mount:
        program = cat_named(tmp_path, "updatedb")
        done = run(program, mount.path / "a", mount.path / "b", mount.path / "c")
        assert done.stderr.count("Object is remote") == 3
        lines = [line for line in mount.log().splitlines() if "restore_deny" in line]
        assert len(lines) == 1, lines
        assert " notice " in lines[0] and "open of a by updatedb[" in lines[0] and "setfattr" in lines[0], lines


def test_a_thread_of_an_indexers_name_restores_nothing(emulator, tmp_path, archive):
    put(emulator, "f", CONTENT, archive.quick)
    with archive.mount(emulator, tmp_path, on_frozen="eagain") as mount:
        assert read_in_thread(mount.path / "f", "localsearch-extractor-3") == "open EREMOTE"
        assert restores(emulator) == 0
        assert read_in_thread(mount.path / "f", "somebody") == "open EAGAIN"
        assert restores(emulator) == 1


def test_a_read_is_denied_too_also_while_another_restores(emulator, tmp_path, archive):
    put(emulator, "f", CONTENT, archive.quick)
    with archive.mount(emulator, tmp_path) as mount:
        assert read_in_thread(mount.path / "f", "somebody", "updatedb") == "read EREMOTE"
        assert restores(emulator) == 0
        assert set_attribute(mount.path / "f", "restore", archive.quick_wish) is None
        assert attribute(mount.path / "f", "restore_status") == "restoring"
        assert read_in_thread(mount.path / "f", "updatedb") == "open EREMOTE"
        assert read_in_thread(mount.path / "f", "somebody", "updatedb") == "read EREMOTE"


def test_a_denied_program_restores_by_name_and_reads_what_is_restored(emulator, tmp_path, archive):
    put(emulator, "f", CONTENT, archive.quick)
    with archive.mount(emulator, tmp_path, restore_deny="setfattr:cat") as mount:
        assert_denied(run("cat", mount.path / "f"))
        assert set_attribute(mount.path / "f", "restore", archive.quick_wish) is None
        thaw(emulator, "f", archive.quick_span)
        wait_until(lambda: attribute(mount.path / "f", "restore_status") == "restored", "the restore to be noticed")
        assert run("cat", mount.path / "f", text=False).stdout == CONTENT
        assert restores(emulator) == 1


@pytest.mark.parametrize("denied", ["", "tumblerd:recollindex"])
def test_the_option_replaces_the_list(emulator, tmp_path, archive, denied):
    for key in "fg":
        put(emulator, key, CONTENT, archive.quick)
    with archive.mount(emulator, tmp_path, restore_deny=denied, on_frozen="eagain") as mount:
        done = run(cat_named(tmp_path, "updatedb"), mount.path / "f")
        assert "temporarily unavailable" in done.stderr
        assert restores(emulator) == 1
        if denied:
            assert_denied(run(cat_named(tmp_path, "recollindex"), mount.path / "g"))
            assert restores(emulator) == 1
