"""Reading: the right bytes in few requests, and never those of two versions of an object."""

import errno
import hashlib
import mmap
import os
import random
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.objects import content

KIB, MIB = 1 << 10, 1 << 20
SECONDS = 20
# Linux's: pages of the mapping stay in memory, where a kernel that takes back what is idle would drop them.
MAP_LOCKED = 0x2000
SIZES = [0, 1, 4095, 4096, 4097, MIB - 1, MIB, MIB + 1, 20 * MIB]


def gets(emulator):
    """The GETs of objects that were sent, as (first, last + 1, bytes sent)."""
    ranges = []
    for request in emulator.requests()["requests"]:
        if request["op"] == "GetObject":
            first, last = re.fullmatch(r"bytes=(\d+)-(\d+)", request["range"]).groups()
            ranges.append((int(first), int(last) + 1, request["bytes_out"]))
    return ranges


def run(*words, **options):
    return subprocess.run([str(word) for word in words], timeout=SECONDS, capture_output=True, **options)


def failure(function):
    with pytest.raises(OSError) as caught:
        function()
    return errno.errorcode[caught.value.errno]


def bytes_or_error(descriptor, size, offset):
    try:
        return os.pread(descriptor, size, offset)
    except OSError as error:
        return errno.errorcode[error.errno]


# -- The right bytes

@pytest.mark.without("oas", why="an empty file is in its catalogue alone")
def test_files_of_every_awkward_size_read_right(mounting, objects):
    bodies = {f"s{size}": content(size, size) for size in SIZES}
    for key, body in bodies.items():
        objects.put(key, body)
    with mounting() as mount:
        for key, body in bodies.items():
            path = mount.path / key
            assert path.stat().st_size == len(body)
            assert path.read_bytes() == body, key


def test_random_reads_are_right(mounting, objects):
    body = content(5 * MIB + 123)
    objects.put("f", body)
    order = random.Random(20240607)
    with mounting() as mount:
        descriptor = os.open(mount.path / "f", os.O_RDONLY)
        try:
            for _ in range(300):
                offset = order.randrange(len(body) + 5000)
                size = order.choice([1, 100, 4096, 65536, 300_000])
                assert os.pread(descriptor, size, offset) == body[offset:offset + size], (offset, size)
        finally:
            os.close(descriptor)


def test_parallel_readers_all_read_right(mounting, objects):
    body = content(8 * MIB, 3)
    objects.put("f", body)
    script = """
import hashlib, random, os, sys
order = random.Random(int(sys.argv[2]))
body = open(sys.argv[1], "rb").read()
descriptor = os.open(sys.argv[1], os.O_RDONLY)
for _ in range(100):
    offset = order.randrange(len(body))
    assert os.pread(descriptor, 10000, offset) == body[offset:offset + 10000]
print(hashlib.sha256(body).hexdigest())
"""
    with mounting() as mount:
        readers = [subprocess.Popen([sys.executable, "-c", script, mount.path / "f", str(seed)],
                                    stdout=subprocess.PIPE, text=True) for seed in range(6)]
        try:
            outputs = [reader.communicate(timeout=SECONDS)[0].strip() for reader in readers]
        finally:
            for reader in readers:
                reader.kill()
        assert outputs == [hashlib.sha256(body).hexdigest()] * 6


def test_a_file_can_be_mapped(mounting, objects):
    body = content(3 * MIB + 7, 4)
    objects.put("f", body)
    with mounting() as mount, open(mount.path / "f", "rb") as file:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            assert mapped[2 * MIB:2 * MIB + 100] == body[2 * MIB:2 * MIB + 100]
            assert mapped[-7:] == body[-7:]
            assert mapped[:] == body


def test_ordinary_tools_read_right(mounting, objects, tmp_path):
    body = content(5 * MIB + 1000, 5)
    objects.put("f", body)
    with mounting() as mount:
        assert run("cp", mount.path / "f", tmp_path / "copy").returncode == 0
        assert (tmp_path / "copy").read_bytes() == body
        assert run("dd", f"if={mount.path / 'f'}", "bs=1M").stdout == body
        assert run("dd", f"if={mount.path / 'f'}", "bs=1M", "iflag=direct").stdout == body
        assert run("tail", "-c", "1500", mount.path / "f").stdout == body[-1500:]
        assert run("cmp", mount.path / "f", tmp_path / "copy").returncode == 0


# -- In few requests

def test_a_mebibyte_is_one_request(mounting, emulator, objects):
    body = content(MIB, 6)
    objects.put("f", body)
    with mounting() as mount:
        emulator.clear_requests()
        assert (mount.path / "f").read_bytes() == body
        assert [(first, end) for first, end, _ in gets(emulator)] == [(0, MIB)]


def test_reading_in_order_fetches_every_byte_once_in_large_pieces(mounting, emulator, objects):
    body = content(64 * MIB, 7)
    objects.put("f", body)
    with mounting() as mount:
        emulator.clear_requests()
        seen = hashlib.sha256()
        with open(mount.path / "f", "rb", buffering=0) as file:
            while piece := file.read(MIB):
                seen.update(piece)
        assert seen.digest() == hashlib.sha256(body).digest()
        ranges = sorted(gets(emulator))
        assert sum(sent for _, _, sent in ranges) == len(body), gets(emulator)
        assert all(end == following[0] for (_, end, _), following in zip(ranges, ranges[1:]))
        # A store that is far away is asked for more at once, and less each time.
        assert len(ranges) <= 68, ranges


@pytest.mark.without("oas", why="the ranges of a job's output are whole mebibytes")
def test_random_reads_fetch_little_more_than_they_want(mounting, emulator, objects):
    body = content(64 * MIB, 8)
    objects.put("f", body)
    order = random.Random(8)
    with mounting() as mount:
        descriptor = os.open(mount.path / "f", os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
            emulator.clear_requests()
            for _ in range(200):
                offset = order.randrange(len(body) // 4096) * 4096
                assert os.pread(descriptor, 4096, offset) == body[offset:offset + 4096]
        finally:
            os.close(descriptor)
        assert sum(sent for _, _, sent in gets(emulator)) <= 200 * 128 * KIB
        assert len(gets(emulator)) <= 200


def test_a_second_reading_comes_from_the_page_cache(mounting, objects):
    body = content(3 * MIB, 9)
    objects.put("f", body)
    with mounting() as mount:
        first = (mount.path / "f").read_bytes()
        assert first == body
        with ThreadPoolExecutor(1) as reader, open(mount.path / "f", "rb") as file, mmap.mmap(
                file.fileno(), 0, flags=mmap.MAP_SHARED | MAP_LOCKED, prot=mmap.PROT_READ), \
                open(mount.path / "f", "rb") as again:
            # A daemon that does not run cannot be asked.
            os.kill(mount.pid(), signal.SIGSTOP)
            try:
                assert reader.submit(os.pread, again.fileno(), len(body), 0).result(SECONDS) == body
            finally:
                os.kill(mount.pid(), signal.SIGCONT)


def test_reads_past_the_end_ask_nothing(mounting, emulator, objects):
    objects.put("f", b"12345")
    with mounting() as mount, open(mount.path / "f", "rb") as file:
        emulator.clear_requests()
        assert os.pread(file.fileno(), 100, 5) == b""
        assert os.pread(file.fileno(), 100, 1 << 40) == b""
        assert gets(emulator) == []


# -- Objects that change while they are open

@pytest.mark.without("oas", why="what others do to a vault is seen with its next inventory")
def test_a_replaced_object_gives_estale_and_never_mixed_content(mounting, objects):
    old, new = content(8 * MIB, 10), content(8 * MIB, 11)
    objects.put("f", old)
    with mounting(options={"metadata_ttl": "1h"}) as mount:
        path = mount.path / "f"
        descriptor = os.open(path, os.O_RDONLY)
        try:
            assert os.pread(descriptor, 4096, 0) == old[:4096]
            objects.put("f", new)
            assert failure(lambda: os.pread(descriptor, 4096, 7 * MIB)) == "ESTALE"
            # The failure has told that the metadata is out of date: the next open sees the new content, whole.
            assert path.read_bytes() == new
            assert bytes_or_error(descriptor, 4096, 0) in (old[:4096], "ESTALE")
            assert failure(lambda: os.pread(descriptor, 4096, 6 * MIB)) == "ESTALE"
            assert path.read_bytes() == new
        finally:
            os.close(descriptor)
        assert path.read_bytes() == new
        assert "replaced" in mount.log()


@pytest.mark.without("oas", why="what others do to a vault is seen with its next inventory")
def test_two_versions_open_at_once_do_not_share_pages(mounting, objects):
    old, new = content(2 * MIB, 12), content(2 * MIB, 13)
    objects.put("f", old)
    with mounting() as mount:
        path = mount.path / "f"
        with open(path, "rb", buffering=0) as first:
            assert first.read() == old
            objects.put("f", new)
            os.setxattr(path, "user.thaw.refresh", b"")
            with open(path, "rb", buffering=0) as second:
                for offset in range(0, 2 * MIB, 100_000):
                    assert os.pread(second.fileno(), 5000, offset) == new[offset:offset + 5000]
                    assert os.pread(first.fileno(), 5000, offset) == old[offset:offset + 5000]


@pytest.mark.without("oas", why="what others do to a vault is seen with its next inventory")
def test_a_shorter_object_does_not_end_the_longer_one_that_is_open(mounting, objects):
    old = content(8 * MIB, 18)
    objects.put("f", old)
    with mounting() as mount:
        path = mount.path / "f"
        with open(path, "rb", buffering=0) as file:
            assert b"".join(iter(lambda: file.read(MIB) if file.tell() < 4 * MIB else b"", b"")) == old[:4 * MIB]
            objects.put("f", content(MIB, 19))
            os.setxattr(path, "user.thaw.refresh", b"")
            assert {path.stat().st_size for _ in range(2)} == {MIB}
            for offset in range(MIB, 8 * MIB, MIB):
                assert path.stat().st_size == MIB
                # Its own bytes, or an error: never the end.
                assert bytes_or_error(file.fileno(), 4096, offset) in (old[offset:offset + 4096], "ESTALE")


@pytest.mark.without("oas", why="what others do to a vault is seen with its next inventory")
def test_a_size_that_changes_is_seen_whole(mounting, objects):
    objects.put("f", content(100_000, 14))
    with mounting() as mount:
        path = mount.path / "f"
        assert path.read_bytes() == content(100_000, 14)
        for size in (10, 300_000, 0, 50_000):
            objects.put("f", content(size, size))
            os.setxattr(path, "user.thaw.refresh", b"")
            assert path.read_bytes() == content(size, size)
            assert path.stat().st_size == size


@pytest.mark.without("oas", why="what others do to a vault is seen with its next inventory")
def test_an_object_deleted_while_open_gives_estale_and_is_gone(mounting, objects):
    body = content(8 * MIB, 15)
    objects.put("f", body)
    with mounting() as mount:
        with open(mount.path / "f", "rb", buffering=0) as file:
            assert os.pread(file.fileno(), 4096, 0) == body[:4096]
            objects.delete("f")
            assert failure(lambda: os.pread(file.fileno(), 4096, 7 * MIB)) == "ESTALE"
        assert failure(lambda: open(mount.path / "f", "rb")) == "ENOENT"


@pytest.mark.without("oas", why="a vault has no classes")
def test_objects_of_an_unknown_class_are_shown_and_read(mounting, emulator, objects):
    objects.put("f", b"content")
    emulator.set_object("bkt", "f", **{"class": "GLACIAL_PLUS"})
    with mounting() as mount:
        assert os.getxattr(mount.path / "f", "user.thaw.storage_class") == b"GLACIAL_PLUS"
        assert os.getxattr(mount.path / "f", "user.thaw.restore_status") == b"online"
        assert (mount.path / "f").read_bytes() == b"content"
