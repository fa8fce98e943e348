"""What a close of one of several descriptors does: a new file is stored once, whoever made it."""

import os
import subprocess
import sys

import pytest

from support.reader import run

PROGRAMS = {
    "a shell's redirection": ["sh", "-c", "echo content > new"],
    "a shell's redirection of a group": ["sh", "-c", "{ echo con; echo tent; } > new"],
    "a shell's redirection that replaces": ["sh", "-c", "echo content > old"],
    "touch": ["touch", "new"],
    "touch with a time": ["touch", "-d", "2001-02-03 04:05:06", "new"],
    "dd": ["dd", "if=/dev/zero", "of=new", "bs=1000", "count=3"],
    "tee": ["sh", "-c", "echo content | tee new"],
    "cp": ["cp", "old", "new"],
}


def stored(emulator):
    """How often an object was stored or copied."""
    counts = emulator.requests()["counts"]
    return sum(counts.get(name, 0) for name in ("PutObject", "CopyObject", "InitiateMultipartUpload"))


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_new_file_is_stored_once(mounting, emulator, dialect, objects, name):
    objects.put("old", b"content")
    with mounting() as mount:
        os.listdir(mount.path)
        emulator.clear_requests()
        done = run(*PROGRAMS[name], cwd=mount.path)
        assert done.returncode == 0, done.stderr
        # An empty file is in a vault's catalogue alone.
        assert stored(emulator) == (0 if dialect == "oas" and name.startswith("touch") else 1)


@pytest.mark.without("oas", why="an empty file is in its catalogue alone")
def test_the_last_close_for_writing_stores_an_empty_file(mounting, emulator):
    with mounting() as mount:
        # All of it in one process: what matters is which descriptors that has.
        program = """if True:
            import os, sys
            writing = os.open("new", os.O_WRONLY | os.O_CREAT)
            reading = os.open("new", os.O_RDONLY)
            copy = os.dup(writing)
            os.close(writing)
            print("copied", flush=True)
            sys.stdin.readline()
            os.close(copy)
            print("closed", flush=True)
            sys.stdin.readline()
            """
        with subprocess.Popen([sys.executable, "-c", program], cwd=mount.path, stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout.readline() == "copied\n"
                assert stored(emulator) == 0
                process.stdin.write("\n")
                process.stdin.flush()
                assert process.stdout.readline() == "closed\n"
                assert stored(emulator) == 1
                process.stdin.close()
                assert process.wait(30) == 0
            finally:
                process.kill()


def test_what_was_written_is_stored_by_any_close(mounting, emulator):
    with mounting() as mount:
        writing = os.open(mount.path / "new", os.O_WRONLY | os.O_CREAT)
        copy = os.dup(writing)
        os.write(writing, b"content")
        os.close(writing)
        assert stored(emulator) == 1
        os.close(copy)
        assert stored(emulator) == 1
