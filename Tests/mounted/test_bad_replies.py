"""A store that answers badly, or not: what can be made good is, the rest is one clear error, and nothing hangs."""

import errno
import hashlib
import os
import re
import subprocess
import sys

import pytest

from support.emulator import Emulator
from support.mount import Mount, wait_until
from support.objects import Objects, content

MIB = 1 << 20
SECONDS = 90
READ = """
import errno, hashlib, sys
try:
    print(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest())
except OSError as error:
    print(errno.errorcode[error.errno])
"""
LIST = """
import errno, os, sys
try:
    print(sorted(os.listdir(sys.argv[1])))
except OSError as error:
    print(errno.errorcode[error.errno])
"""


def ask(script, path):
    """What a process of its own finds at the path: the answer, or the name of the errno."""
    done = subprocess.run([sys.executable, "-c", script, str(path)], timeout=SECONDS, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def read(path):
    return ask(READ, path)


def digest(body):
    return hashlib.sha256(body).hexdigest()


def problems(mount):
    return [line for line in mount.log().splitlines() if re.match(r"\S+ (warning|error|critical)", line)]


def waits_for_read(pid, path):
    """Whether the process has the file open and is asleep."""
    try:
        opened = {os.readlink(entry.path) for entry in os.scandir(f"/proc/{pid}/fd")}
        state = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return str(path) in opened and state in "SD"


@pytest.fixture
def body(objects):
    """The content of `f`, large enough for several parts."""
    body = content(3 * MIB + 17, 21)
    objects.put("f", body)
    return body


# -- Made good

@pytest.mark.parametrize("effect", [
    {"status": 503, "retry_after": 0}, {"status": 503}, {"status": 429}, {"status": 500}, {"cut_body": 100_000},
    {"cut_body": 0}, {"slow_first_byte_ms": 1500}, {"latency_ms": 1500},
], ids=lambda effect: "-".join(str(part) for pair in effect.items() for part in pair))
def test_what_passes_is_waited_out(mounting, emulator, body, effect):
    with mounting() as mount:
        os.stat(mount.path / "f")
        emulator.fault(effect, op="GetObject", times=2)
        assert read(mount.path / "f") == digest(body)


@pytest.mark.without("oas", why="a vault is listed by its catalogue")
def test_throttled_listings_are_waited_out(mounting, emulator, objects):
    objects.put("d/f", b"x")
    with mounting() as mount:
        emulator.fault({"status": 429}, op="ListObjectsV2", times=1)
        emulator.fault({"status": 503}, op="ListObjectsV2", times=1)
        assert ask(LIST, mount.path / "d") == "['f']"


@pytest.mark.without("oas", why="the ranges of a job's output are whole mebibytes")
def test_a_cut_body_goes_on_where_it_was_cut(mounting, emulator, objects):
    body = content(MIB, 22)
    objects.put("f", body)
    with mounting() as mount:
        os.stat(mount.path / "f")
        emulator.clear_requests()
        emulator.fault({"cut_body": 300_000}, op="GetObject", times=1)
        assert read(mount.path / "f") == digest(body)
        starts = [int(re.match(r"bytes=(\d+)-", request["range"]).group(1))
                  for request in emulator.requests()["requests"] if request["op"] == "GetObject"]
        assert starts[0] == 0 and 0 < starts[1] <= 300_000


# -- Errors

@pytest.mark.without("oas", why="a job's output has codes of its own, and a checksum over all of it")
@pytest.mark.parametrize("effect, name", [
    ({"status": 500}, "EIO"), ({"status": 503}, "EIO"), ({"cut_body": 0}, "EIO"),
    ({"status": 403, "code": "AccessDenied"}, "EACCES"), ({"status": 400, "code": "InvalidArgument"}, "EIO"),
    ({"status": 404, "code": "NoSuchKey"}, "ESTALE"), ({"error_body": "InternalError"}, "EIO"),
    ({"wrong_length": 1000}, "EIO"), ({"wrong_length": -1000}, "EIO"),
], ids=lambda value: value if isinstance(value, str) else "-".join(str(part) for part in value.values()))
def test_what_lasts_is_an_error_and_passes_with_its_cause(mounting, emulator, body, effect, name):
    with mounting() as mount:
        os.stat(mount.path / "f")
        emulator.fault(effect, op="GetObject")
        assert read(mount.path / "f") == name
        emulator.clear_faults()
        assert read(mount.path / "f") == digest(body)


def test_a_lasting_error_is_told_with_its_key_code_and_request_id(mounting, emulator, objects):
    objects.put("f", b"content")
    with mounting() as mount:
        os.stat(mount.path / "f")
        emulator.fault({"status": 500}, op="GetObject")
        assert read(mount.path / "f") == "EIO"
        told = [line for line in problems(mount) if "InternalError" in line]
        assert told and all("f" in line and "500" in line and "request id" in line for line in told)


def test_a_refusal_is_told_once_with_what_to_do(mounting, emulator, objects):
    objects.put("f", b"content")
    with mounting() as mount:
        os.stat(mount.path / "f")
        emulator.fault({"status": 403, "code": "AccessDenied"}, op="GetObject")
        assert read(mount.path / "f") == "EACCES"
        # The kernel asks twice for a page that failed.
        [told] = problems(mount)
        assert "AccessDenied" in told and "request id" in told and "policy" in told


@pytest.mark.without("oas", why="a vault is listed by its catalogue")
@pytest.mark.parametrize("effect, name", [
    ({"malformed_xml": True}, "EIO"), ({"listing_loop": True}, "EIO"), ({"error_body": "InternalError"}, "EIO"),
    ({"status": 500}, "EIO"), ({"status": 403, "code": "AccessDenied"}, "EACCES"), ({"cut_body": 200}, "EIO"),
    ({"wrong_length": 50}, "EIO"),
], ids=lambda value: value if isinstance(value, str) else "-".join(str(part) for part in value))
def test_a_bad_listing_is_an_error_and_passes_with_its_cause(mounting, emulator, objects, effect, name):
    emulator.seed("bkt", count=1500, size=1, prefix="d/")
    with mounting() as mount:
        assert (mount.path / "d").is_dir()
        emulator.fault(effect, op="ListObjectsV2")
        assert ask(LIST, mount.path / "d") == name
        assert problems(mount)
        emulator.clear_faults()
        assert len(os.listdir(mount.path / "d")) == 1500


@pytest.mark.without("oas", why="a vault is listed by its catalogue")
def test_a_bad_second_page_is_an_error_and_never_a_short_directory(mounting, emulator):
    emulator.seed("bkt", count=1500, size=1, prefix="d/")
    with mounting() as mount:
        assert (mount.path / "d").is_dir()
        # The first page passes: it is the one that has to wait for its turn.
        emulator.fault({"latency_ms": 1}, op="ListObjectsV2", times=1)
        emulator.fault({"listing_loop": True}, op="ListObjectsV2")
        assert ask(LIST, mount.path / "d") == "EIO"
        emulator.clear_faults()
        assert len(os.listdir(mount.path / "d")) == 1500


@pytest.mark.without("oas", why="a vault is listed by its catalogue")
def test_a_listing_that_fails_makes_no_name_absent(mounting, emulator, objects):
    objects.put("d/f", b"x")
    with mounting() as mount:
        emulator.fault({"malformed_xml": True}, op="ListObjectsV2")
        assert ask("import os, sys\ntry: os.stat(sys.argv[1])\nexcept OSError as error: print(error.errno)",
                   mount.path / "d/f") == str(errno.EIO)
        emulator.clear_faults()
        assert (mount.path / "d/f").read_bytes() == b"x"


# -- A store that goes away

@pytest.mark.without("oas", why="its emulator is another, and has no vault")
def test_a_store_that_comes_back_is_found_again(dialect, tmp_path):
    body = content(100_000, 23)
    with Emulator(data=tmp_path / "data", buckets=["bkt"]) as emulator:
        objects = Objects(emulator)
        objects.put("d/f", body)
        objects.put("d/g", body)
        with Mount(emulator, f"{dialect}://bkt", tmp_path) as mount:
            assert sorted(os.listdir(mount.path / "d")) == ["f", "g"]
            assert read(mount.path / "d/f") == digest(body)
            emulator.stop()
            # What is in memory is served on; the rest is an error, not a hang.
            assert sorted(os.listdir(mount.path / "d")) == ["f", "g"]
            assert read(mount.path / "d/g") == "EIO"
            assert problems(mount)
            listen = emulator.command.index("--listen") + 1
            emulator.command[listen] = f"127.0.0.1:{emulator.port}"
            emulator.start()
            assert read(mount.path / "d/g") == digest(body)


def test_a_reader_of_a_store_that_does_not_answer_can_be_killed(mounting, emulator, body):
    with mounting() as mount:
        os.stat(mount.path / "f")
        emulator.fault({"latency_ms": 30_000}, op="GetObject")
        reader = subprocess.Popen([sys.executable, "-c", READ, mount.path / "f"])
        try:
            wait_until(lambda: waits_for_read(reader.pid, mount.path / "f"), "the reader to wait")
            reader.kill()
            assert reader.wait(10) < 0
        finally:
            reader.kill()
            reader.wait(SECONDS)
