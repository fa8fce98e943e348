"""Ordinary programs on frozen files: the right bytes, or an error that is seen. Never silent damage."""

import glob
import hashlib
import os
import sys
import tarfile

import pytest

from support.archive import attribute, put, restores, set_attribute, set_state, thaw, wait_until_known
from support.mount import wait_until
from support.reader import Program, run

CONTENT = os.urandom(200_000) + bytes(100_000) + b"needle\n"

COPYFILE = "import shutil, sys; shutil.copyfile(sys.argv[1], sys.argv[2])"
MMAP = """
import mmap, sys
with open(sys.argv[1], "rb") as source, mmap.mmap(source.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ) as pages:
    open(sys.argv[2], "wb").write(pages[:])
"""

# Each makes OUT from the directory IN, which has the one file `f`.
PROGRAMS = {
    "tar": "tar -C IN -cf OUT.tar f && tar -xOf OUT.tar f > OUT",
    "tar -S": "tar -S -C IN -cf OUT.tar f && tar -xOf OUT.tar f > OUT",
    "cp": "cp IN/f OUT",
    "cp -a": "cp -a IN/f OUT",
    "rsync -aX": "rsync -aX IN/f OUT",
    "dd": "dd if=IN/f of=OUT bs=7k status=none",
    "cat": "cat IN/f > OUT",
    "gzip": "gzip -c IN/f > OUT.gz && gzip -dc OUT.gz > OUT",
    "head and tail": "{ head -c 1000 IN/f && tail -c +1001 IN/f; } > OUT",
    "shutil.copyfile": f"{sys.executable} -I -c '{COPYFILE}' IN/f OUT",
    "mmap": f"{sys.executable} -I -c '{MMAP}' IN/f OUT",
    "md5sum": "md5sum < IN/f | grep -q SUM && cp IN/f OUT",
    "grep -r": "grep -raq needle IN && cp IN/f OUT",
    "cmp": "cmp IN/f SAME && cp SAME OUT",
}


@pytest.fixture(params=PROGRAMS, ids=lambda name: name.replace(" ", ""))
def script(request, tmp_path):
    (tmp_path / "same").write_bytes(CONTENT)
    words = {"IN": tmp_path / "mnt", "OUT": tmp_path / "out", "SUM": hashlib.md5(CONTENT).hexdigest(),
             "SAME": tmp_path / "same"}
    text = PROGRAMS[request.param]
    for word, meaning in words.items():
        text = text.replace(word, str(meaning))
    return "set -o pipefail; " + text


def test_a_program_waits_and_gets_the_right_bytes(emulator, archive, tmp_path, script):
    put(emulator, "f", CONTENT, archive.quick)
    with archive.mount(emulator, tmp_path), Program("bash", "-c", script) as program:
        thaw(emulator, "f", archive.quick_span)
        status, _, errors = program.finish()
        assert status == 0, errors
        assert (tmp_path / "out").read_bytes() == CONTENT
        assert restores(emulator) == 1


@pytest.mark.only("s3", why="an errno is the same whatever the store")
@pytest.mark.parametrize("policy", ["too slow", "eagain", "refuse"])
def test_a_program_that_is_not_made_to_wait_fails_and_says_so(emulator, archive, tmp_path, script, policy):
    put(emulator, "f", CONTENT, archive.slow if policy == "too slow" else archive.quick)
    options = {"restore_tier": "Standard"} if policy == "too slow" else {"on_frozen": policy}
    with archive.mount(emulator, tmp_path, **options):
        done = run("bash", "-c", script)
        assert done.returncode != 0
        assert done.stderr
        out = tmp_path / "out"
        assert not out.exists() or out.stat().st_size == 0
        assert restores(emulator) == (0 if policy == "refuse" else 1)


# What reads EAGAIN as the end of the file: the reason why it comes from `open` unless somebody asks for it.
FOOLED = {"shutil.copyfile"}


@pytest.mark.only("s3", why="an errno is the same whatever the store")
def test_eagain_from_read_is_an_error_to_all_but_the_programs_known_for_it(
        emulator, archive, tmp_path, request, script):
    put(emulator, "f", CONTENT, archive.quick)
    with archive.mount(emulator, tmp_path, on_frozen="eagain", eagain_at="read"):
        done = run("bash", "-c", script)
        assert (done.returncode == 0) == (request.node.callspec.params["script"] in FOOLED), done.stderr
        out = tmp_path / "out"
        assert not out.exists() or out.stat().st_size == 0
        assert restores(emulator) == 1


def test_a_frozen_script_runs_once_it_is_thawed(emulator, archive, tmp_path):
    put(emulator, "run.sh", b"#!/bin/sh\necho thawed\n", archive.quick)
    with archive.mount(emulator, tmp_path, umask="022") as mount:
        with Program("sh", mount.path / "run.sh") as program:
            thaw(emulator, "run.sh", archive.quick_span)
            assert program.finish() == (0, "thawed\n", "")


def test_a_frozen_file_is_no_executable_and_trying_restores_nothing(emulator, archive, tmp_path):
    put(emulator, "run.sh", b"#!/bin/sh\necho thawed\n", archive.quick)
    with archive.mount(emulator, tmp_path) as mount:
        assert "Permission denied" in run("bash", "-c", mount.path / "run.sh").stderr
        assert restores(emulator) == 0


def test_a_frozen_binary_is_mapped_and_runs_once_it_is_thawed(emulator, archive, tmp_path):
    with open("/bin/echo", "rb") as binary:
        put(emulator, "echo", binary.read(), archive.quick)
    # The loader maps its pages as the kernel would, and does not ask for the execute bit that objects do not have.
    loader = glob.glob("/lib*/ld-linux-*.so.*")[0]
    with archive.mount(emulator, tmp_path) as mount:
        with Program(loader, mount.path / "echo", "thawed") as program:
            thaw(emulator, "echo", archive.quick_span)
            assert program.finish() == (0, "thawed\n", "")


@pytest.mark.parametrize("shell_error, options", [
    ("Resource temporarily unavailable", {"on_frozen": "eagain"}), ("Object is remote", {"on_frozen": "refuse"}),
    (None, {}),
], ids=["eagain", "refuse", "block"])
def test_the_kernel_executes_a_frozen_binary_once_it_is_thawed(emulator, archive, tmp_path, shell_error, options):
    with open("/bin/echo", "rb") as binary:
        put(emulator, "echo", binary.read(), archive.quick)
    with archive.mount(emulator, tmp_path, umask="022", **options) as mount:
        command = ["sh", "-c", 'exec "$0" thawed', mount.path / "echo"]
        if shell_error:
            done = run(*command)
            assert done.returncode != 0 and shell_error in done.stderr, done
            return
        with Program(*command) as program:
            thaw(emulator, "echo", archive.quick_span)
            assert program.finish() == (0, "thawed\n", "")
        assert restores(emulator) == 1


# Maps a file as argv[2] says; prints the digest of its pages, or the errno of mmap.
MAPPING = """
import errno, hashlib, mmap, sys
with open(sys.argv[1], "rb") as source:
    try:
        pages = mmap.mmap(source.fileno(), 0, getattr(mmap, sys.argv[2]), mmap.PROT_READ)
    except OSError as error:
        print(errno.errorcode[error.errno])
    else:
        print(hashlib.sha256(pages).hexdigest())
"""


@pytest.mark.without("oas", why="a mount does not see the jobs that others began")
@pytest.mark.parametrize("sharing", ["MAP_PRIVATE", "MAP_SHARED"])
def test_a_mapping_shows_the_right_bytes_or_is_refused(emulator, archive, tmp_path, sharing):
    put(emulator, "f", CONTENT, archive.quick)
    command = [sys.executable, "-I", "-c", MAPPING, tmp_path / "mnt/f", sharing]
    right = (0, hashlib.sha256(CONTENT).hexdigest() + "\n", "")
    with archive.mount(emulator, tmp_path):
        with Program(*command) as program:
            wait_until(lambda: restores(emulator) == 1 or not program.is_running(), "the restore")
            if not program.is_running():
                # Shared, of a file opened with direct I/O: some kernels refuse it.
                assert sharing == "MAP_SHARED" and program.finish() == (0, "ENODEV\n", "")
                assert restores(emulator) == 0
                set_state(emulator, "f", "restored")
            else:
                thaw(emulator, "f", archive.quick_span)
                assert program.finish() == right
        # What is opened once the copy is known is mapped by every kernel.
        assert set_attribute(tmp_path / "mnt/f", "refresh") is None
        wait_until(lambda: attribute(tmp_path / "mnt/f", "restore_status") == "restored", "the restore")
        assert run(*command).stdout == right[1]
        assert restores(emulator) <= 1


def test_tar_of_a_tree_has_every_byte_of_every_file(emulator, archive, tmp_path):
    contents = {f"d/{number}": os.urandom(50_000) for number in range(4)}
    for key, content in contents.items():
        put(emulator, key, content, archive.quick)
    tarball = tmp_path / "out.tar"
    with archive.mount(emulator, tmp_path) as mount:
        with Program("tar", "-C", mount.path, "-cf", tarball, "d") as program:
            for key in contents:
                thaw(emulator, key, archive.quick_span)
            status, _, errors = program.finish()
            assert status == 0, errors
    with tarfile.open(tarball) as archived:
        found = {member.name: archived.extractfile(member).read() for member in archived if member.isfile()}
    assert found == contents


def test_a_copy_that_meets_an_error_while_it_waits_fails(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT, archive.quick)
    copy = tmp_path / "out"
    with archive.mount(emulator, tmp_path) as mount:
        with Program("cp", mount.path / "f", copy) as program:
            wait_until_known(mount.path / "f")
            set_state(emulator, "f", "frozen")
            archive.hasten(mount.path / "f")
            status, _, errors = program.finish()
            assert status != 0 and "Input/output error" in errors
