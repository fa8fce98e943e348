"""Directories out of key prefixes: what they cost, what they remember, and what they survive."""

import contextlib
import ctypes
import os
import pathlib
import re
import sqlite3
import stat
import subprocess
import sys

import pytest

from support.mount import wait_until

SECONDS = 120
LISTS = {"ListObjectsV2", "ListObjects"}


def counts(emulator):
    """Listings sent, and anything else that was."""
    sent = emulator.requests()["counts"]
    return sum(sent.get(name, 0) for name in LISTS), {name: n for name, n in sent.items() if name not in LISTS}


def run(*words):
    done = subprocess.run([str(word) for word in words], timeout=SECONDS, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def inodes(root):
    return {os.path.relpath(os.path.join(directory, name), root): os.lstat(os.path.join(directory, name)).st_ino
            for directory, directories, files in os.walk(root) for name in directories + files}


# -- What they cost

@pytest.mark.without("oas", why="a vault is listed by its catalogue")
def test_ls_l_costs_its_pages_and_no_heads(mounting, emulator):
    emulator.seed("bkt", count=2500, size=10, prefix="d/", pattern="n{i:5}")
    with mounting() as mount:
        emulator.clear_requests()
        lines = run("ls", "-l", mount.path / "d").splitlines()
        assert len(lines) == 2501
        lists, others = counts(emulator)
        # Three pages, of which the first tells that no marker has attributes, and what it takes to find the directory.
        assert lists <= 4 and others == {}
        assert sorted(line.split()[-1] for line in lines[1:]) == [f"n{i:05}" for i in range(2500)]
        assert all(line.split()[4] == "10" for line in lines[1:])
        emulator.clear_requests()
        assert len(run("ls", "-l", mount.path / "d").splitlines()) == 2501
        assert counts(emulator) == (0, {})


@pytest.mark.without("oas", why="a vault is listed by its catalogue")
def test_find_costs_one_listing_for_each_directory(mounting, emulator, objects):
    for directory in range(10):
        for number in range(5):
            objects.put(f"top/d{directory}/f{number}", b"x")
    with mounting() as mount:
        emulator.clear_requests()
        assert len(run("find", mount.path, "-type", "f", "-size", "1").split()) == 50
        lists, others = counts(emulator)
        assert lists <= 12 and others == {}


@pytest.mark.without("cos", "oas", why="IBM lists as S3 does, and a vault by its catalogue")
def test_a_walk_costs_a_listing_of_its_keys_and_not_one_for_each_directory(mounting, emulator):
    for directory in range(60):
        emulator.seed("bkt", count=100, size=1, prefix=f"walk/d{directory:03}/")
    with mounting() as mount:
        emulator.clear_requests()
        assert len(run("find", mount.path, "-type", "f", "-size", "1").split()) == 6000
        lists, others = counts(emulator)
        # The root, `walk`, two directories before it counts as a walk, and 58 directories by the thousand keys.
        assert lists <= 2 + 2 + 6 + 2 and others == {}
        emulator.clear_requests()
        assert len(run("ls", "-lR", mount.path).splitlines()) > 6000
        assert counts(emulator) == (0, {})


@pytest.mark.without("cos", "oas", why="IBM lists as S3 does, and a vault by its catalogue")
def test_a_walk_that_goes_down_nowhere_costs_few_requests_more(mounting, emulator):
    for directory in range(30):
        emulator.seed("bkt", count=3000, size=1, prefix=f"d{directory:03}/", pattern="sub{d}/{i:5}")
    with mounting() as mount:
        emulator.clear_requests()
        found = run("find", mount.path, "-maxdepth", "2", "-type", "d").split()
        assert len(found) == 1 + 30 + 30 * 3
        lists, others = counts(emulator)
        assert lists <= 1 + 30 + 8 and others == {}


@pytest.mark.without("oas", why="a vault is listed by its catalogue")
def test_a_missing_name_is_asked_for_once(mounting, emulator, objects):
    objects.put("d/f", b"x")
    with mounting() as mount:
        assert not (mount.path / "d/missing").exists()
        emulator.clear_requests()
        for _ in range(5):
            assert not (mount.path / "d/missing").exists()
        assert counts(emulator) == (0, {})


@pytest.mark.without("oas", why="a vault is listed by its catalogue")
def test_a_listed_directory_settles_what_is_missing(mounting, emulator, objects):
    objects.put("d/f", b"x")
    with mounting() as mount:
        os.listdir(mount.path / "d")
        emulator.clear_requests()
        for number in range(20):
            assert not (mount.path / f"d/missing{number}").exists()
        assert counts(emulator) == (0, {})


@pytest.mark.without("oas", why="a vault is listed by its catalogue")
def test_a_remount_needs_no_listing_within_the_ttl(mounting, emulator):
    emulator.seed("bkt", count=1500, size=1, prefix="d/")
    with mounting(options={"metadata_ttl": "1h"}) as mount:
        before = run("ls", "-lR", mount.path)
    with mount:
        emulator.clear_requests()
        assert run("ls", "-lR", mount.path).count("\n") == before.count("\n")
        assert not (mount.path / "d/missing").exists()
        assert counts(emulator) == (0, {})


@pytest.mark.without("oas", why="what others do to a vault is seen with its next inventory")
def test_metadata_forever_is_never_asked_for_again(mounting, emulator, objects):
    objects.put("d/f", b"x")
    with mounting(options={"metadata_ttl": "forever"}) as mount:
        assert os.listdir(mount.path / "d") == ["f"]
    objects.put("d/g", b"y")
    with mount:
        emulator.clear_requests()
        assert os.listdir(mount.path / "d") == ["f"]
        assert not (mount.path / "d/other").exists()
        assert counts(emulator) == (0, {})
        os.setxattr(mount.path / "d", "user.thaw.refresh", b"")
        assert sorted(os.listdir(mount.path / "d")) == ["f", "g"]
        assert (mount.path / "d/g").read_bytes() == b"y"


# -- What changes at the store

@pytest.mark.without("oas", why="what others do to a vault is seen with its next inventory")
def test_changes_at_the_store_are_seen_after_the_ttl(mounting, objects):
    for key in ("d/stays", "d/goes", "d/changes", "d/sub/x"):
        objects.put(key, b"old")
    with mounting(options={"metadata_ttl": "1s"}) as mount:
        assert sorted(os.listdir(mount.path / "d")) == ["changes", "goes", "stays", "sub"]
        objects.put("d/comes", b"new")
        objects.put("d/changes", b"new and longer")
        objects.delete("d/goes")
        objects.delete("d/sub/x")
        wait_until(lambda: sorted(os.listdir(mount.path / "d")) == ["changes", "comes", "stays"], "the new listing")
        wait_until(lambda: (mount.path / "d/changes").stat().st_size == 14, "the new size")
        assert (mount.path / "d/changes").read_bytes() == b"new and longer"
        assert (mount.path / "d/comes").read_bytes() == b"new"
        wait_until(lambda: not (mount.path / "d/goes").exists(), "the deleted object to be gone")
        wait_until(lambda: not (mount.path / "d/sub").exists(), "the emptied directory to be gone")


@pytest.mark.without("oas", why="what others do to a vault is seen with its next inventory")
def test_a_refreshed_file_is_asked_for_again(mounting, objects):
    objects.put("d/f", b"old")
    with mounting(options={"metadata_ttl": "1h"}) as mount:
        assert os.listdir(mount.path / "d") == ["f"]
        assert (mount.path / "d/f").stat().st_size == 3
        objects.put("d/f", b"newer")
        assert (mount.path / "d/f").stat().st_size == 3
        os.setxattr(mount.path / "d/f", "user.thaw.refresh", b"")
        assert (mount.path / "d/f").stat().st_size == 5
        assert (mount.path / "d/f").read_bytes() == b"newer"


def test_a_refreshed_file_is_still_there_after_a_remount(mounting, objects):
    objects.put("d/f", b"old")
    with mounting(options={"metadata_ttl": "1h"}) as mount:
        assert os.listdir(mount.path / "d") == ["f"]
        os.setxattr(mount.path / "d/f", "user.thaw.refresh", b"")
    with mount:
        assert (mount.path / "d/f").read_bytes() == b"old"
        assert os.listdir(mount.path / "d") == ["f"]


@pytest.mark.without("oas", why="what others do to a vault is seen with its next inventory")
def test_an_object_that_becomes_a_directory_is_seen(mounting, objects):
    objects.put("d/n", b"object")
    with mounting(options={"metadata_ttl": "1s"}) as mount:
        assert (mount.path / "d/n").is_file()
        objects.delete("d/n")
        objects.put("d/n/below", b"x")
        wait_until(lambda: (mount.path / "d/n").is_dir(), "the name to be a directory")
        assert os.listdir(mount.path / "d/n") == ["below"]


# -- Inodes, types, positions

def test_inode_numbers_outlive_the_mount_and_the_metadata_store(mounting, objects):
    for key in ("a/b/c", "a/f", "x", "x/y", "//z", "a/b/%~q"):
        objects.put(key, b"x")
    with mounting() as mount:
        first = inodes(mount.path)
    assert len(set(first.values())) == len(first)
    with mount:
        assert inodes(mount.path) == first
    for file in mount.state.glob("*/metadata.sqlite*"):
        file.unlink()
    with mount:
        assert inodes(mount.path) == first


def test_entries_tell_their_type_and_inode_without_a_stat(mounting, objects):
    for key in ("d/f", "d/sub/x", "d/both", "d/both/x"):
        objects.put(key, b"x")
    with mounting() as mount, os.scandir(mount.path / "d") as entries:
        seen = {entry.name: (entry.is_dir(follow_symlinks=False), entry.inode()) for entry in entries}
        assert {name: is_directory for name, (is_directory, _) in seen.items()} == \
            {"f": False, "sub": True, "both": True, "%=both": False}
        for name, (_, inode) in seen.items():
            assert os.lstat(mount.path / "d" / name).st_ino == inode


def test_dots_name_the_directory_and_its_parent(mounting, objects):
    objects.put("a/b/f", b"x")
    with mounting() as mount:
        numbers = {name: int(number) for number, name in
                   (line.split() for line in run("ls", "-ai", mount.path / "a/b").splitlines())}
        assert numbers["."] == os.stat(mount.path / "a/b").st_ino
        assert numbers[".."] == os.stat(mount.path / "a").st_ino
        assert os.stat(mount.path / "a/b/..").st_ino == os.stat(mount.path / "a").st_ino
        assert os.path.realpath(mount.path / "a/b/../b/f") == str(mount.path / "a/b/f")


class Directory:
    """opendir(3) and its kin, which Python does not offer."""

    libc = ctypes.CDLL(None, use_errno=True)
    libc.opendir.restype = libc.readdir.restype = ctypes.c_void_p
    libc.opendir.argtypes = [ctypes.c_char_p]
    libc.telldir.restype = ctypes.c_long
    for function in (libc.readdir, libc.telldir, libc.rewinddir, libc.closedir):
        function.argtypes = [ctypes.c_void_p]
    libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]

    def __init__(self, path):
        self.stream = self.libc.opendir(os.fsencode(path))
        assert self.stream

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.libc.closedir(self.stream)

    def read(self):
        entry = self.libc.readdir(self.stream)
        # struct dirent on 64-bit Linux: ino, off, reclen, type, name.
        return ctypes.string_at(entry + 19).decode() if entry else None

    def rest(self):
        return list(iter(self.read, None))

    def tell(self):
        return self.libc.telldir(self.stream)

    def seek(self, place):
        self.libc.seekdir(self.stream, place)

    def rewind(self):
        self.libc.rewinddir(self.stream)


@pytest.mark.without("oas", why="a vault is listed by its catalogue")
def test_a_position_in_a_directory_can_be_returned_to(mounting, emulator):
    emulator.seed("bkt", count=2500, size=1, prefix="d/", pattern="n{i:5}")
    with mounting() as mount, Directory(mount.path / "d") as directory:
        names = [directory.read() for _ in range(700)]
        place = directory.tell()
        rest = directory.rest()
        assert sorted(names + rest) == sorted([".", ".."] + [f"n{i:05}" for i in range(2500)])
        directory.seek(place)
        assert directory.rest() == rest
        directory.rewind()
        assert directory.rest() == names + rest


@pytest.mark.without("oas", why="what others do to a vault is seen with its next inventory")
def test_a_rewound_directory_shows_what_is_new(mounting, objects):
    objects.put("d/a", b"x")
    with mounting(options={"metadata_ttl": "1h"}) as mount, Directory(mount.path / "d") as directory:
        assert sorted(directory.rest()) == [".", "..", "a"]
        objects.put("d/b", b"x")
        os.setxattr(mount.path / "d", "user.thaw.refresh", b"")
        directory.rewind()
        assert sorted(directory.rest()) == [".", "..", "a", "b"]


# -- Markers and depth

@pytest.mark.without("oas", why="a vault has no markers: its catalogue has the directories")
def test_a_marker_alone_is_an_empty_directory(mounting, objects):
    objects.put("empty/", b"")
    objects.put("full/", b"")
    objects.put("full/f", b"x")
    with mounting() as mount:
        assert sorted(os.listdir(mount.path)) == ["empty", "full"]
        assert os.listdir(mount.path / "empty") == []
        assert os.listdir(mount.path / "full") == ["f"]
        assert stat.S_ISDIR(os.stat(mount.path / "empty").st_mode)


@pytest.mark.without("oas", why="a vault has no markers: its catalogue has the directories")
def test_a_marker_with_content_does_not_lose_it(mounting, objects):
    objects.put("d/", b"content of the marker")
    objects.put("d/f", b"x")
    with mounting() as mount:
        assert sorted(os.listdir(mount.path / "d")) == ["%~", "f"]
        assert (mount.path / "d/%~").read_bytes() == b"content of the marker"
        assert os.getxattr(mount.path / "d/%~", "user.thaw.key") == b"d/"
        # Asking the store about this object alone must not make its directory one.
        with pytest.raises(OSError, match="No data"):
            os.getxattr(mount.path / "d/%~", "user.thaw.version_id")
        assert [entry.is_dir() for entry in os.scandir(mount.path)] == [True]
        assert sorted(os.listdir(mount.path / "d")) == ["%~", "f"]


def test_an_empty_bucket_is_an_empty_directory(mounting):
    with mounting() as mount:
        assert os.listdir(mount.path) == []
        assert not (mount.path / "anything").exists()


@pytest.mark.without("oas", why="no description is so long")
def test_deep_paths_are_reached_without_listing_on_the_way(mounting, emulator, objects):
    path = "/".join(f"level{depth}" for depth in range(60))
    objects.put(path + "/f", b"deep")
    with mounting() as mount:
        assert (mount.path / path / "f").read_bytes() == b"deep"
        assert run("find", mount.path, "-name", "f").strip() == str(mount.path / path / "f")


# -- A million

@pytest.mark.only("s3", why="what may grow is the mount, whatever the store")
def test_a_million_names_start_at_once_and_fill_no_memory(mounting, emulator):
    emulator.seed("bkt", count=1_000_000, size=1, prefix="d/")
    with mounting() as mount:
        emulator.clear_requests()
        script = ("import itertools, os, sys\n"
                  "with os.scandir(sys.argv[1]) as entries: print(len(list(itertools.islice(entries, 100))))")
        assert run(sys.executable, "-c", script, mount.path / "d") == "100\n"
        assert counts(emulator)[0] <= 10
        for number in (0, 499_999, 999_999):
            assert (mount.path / f"d/{number:08}").stat().st_size == 1
        assert not (mount.path / "d/01000000").exists()
        # 60,000 more: far enough for anything that is kept for each name to show.
        script = script.replace("100)", "60_000)")
        assert run(sys.executable, "-c", script, mount.path / "d") == "60000\n"
        status = pathlib.Path(f"/proc/{mount.pid()}/status").read_text()
        assert int(re.search(r"VmHWM:\s*(\d+) kB", status).group(1)) < 200 * 1024


@pytest.mark.only("s3", why="what may grow is the mount, whatever the store")
def test_names_that_the_kernel_remembers_fill_no_memory(mounting, emulator):
    # Of 16 MiB, twelve inodes for each that there may be in memory.
    count = 200_000
    emulator.seed("bkt", count=count, size=1, prefix="d/")
    script = ("import os, sys, zlib\n"
              "found = [(entry.name, entry.stat().st_size, entry.inode()) for entry in os.scandir(sys.argv[1])]\n"
              "print(len(found), sum(size for _, size, _ in found), zlib.crc32(repr(found).encode()))")
    with mounting(options={"metadata_ttl": "forever", "memory": "16M"}) as mount:
        directory = mount.path / "d"
        content = (directory / "00000001").read_bytes()
        seen = run(sys.executable, "-c", script, directory)
        assert seen.startswith(f"{count} {count} ")
        emulator.clear_requests()
        assert run(sys.executable, "-c", script, directory) == seen
        assert emulator.requests()["counts"] == {}
        # The first are no longer in memory.
        numbers = {name: (directory / name).stat().st_ino for name in ("00000000", "00000001", "00000002")}
        with open(directory / "00000000", "rb") as file:
            assert len(file.read()) == 1 and os.fstat(file.fileno()).st_ino == numbers["00000000"]
        os.rename(directory / "00000001", directory / "renamed")
        assert (directory / "renamed").stat().st_ino == numbers["00000001"]
        assert (directory / "renamed").read_bytes() == content
        os.remove(directory / "00000002")
        assert sorted(os.listdir(directory))[:2] == ["00000000", "00000003"]
        assert not (directory / "00000001").exists()
        status = pathlib.Path(f"/proc/{mount.pid()}/status").read_text()
        assert int(re.search(r"VmHWM:\s*(\d+) kB", status).group(1)) < 100 * 1024


# -- Damage

def overwrite_the_middle(path):
    size = path.stat().st_size
    with open(path, "r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (size - 4096))


def truncate(path):
    os.truncate(path, path.stat().st_size // 2 + 100)


def overwrite_the_header(path):
    with open(path, "r+b") as file:
        file.write(b"this is no database, whatever its name says")


@pytest.mark.without("oas", why="a vault is listed by its catalogue")
@pytest.mark.parametrize("damage", [overwrite_the_middle, truncate, overwrite_the_header])
def test_a_damaged_metadata_store_is_set_aside_and_rebuilt(mounting, emulator, objects, damage):
    emulator.seed("bkt", count=1200, size=1, prefix="d/")
    objects.put("f", b"content")
    with mounting() as mount:
        names = sorted(os.listdir(mount.path / "d"))
        assert os.listdir(mount.path)
    database = next(mount.state.glob("*/metadata.sqlite"))
    # Into the file with what the log still has, which would hide the damage.
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    damage(database)
    with mount:
        # Damage that only a read meets costs that one operation.
        run(sys.executable, "-c", "import os, sys\ntry: os.listdir(sys.argv[1])\nexcept OSError: pass",
            mount.path / "d")
        assert sorted(os.listdir(mount.path / "d")) == names
        assert (mount.path / "f").read_bytes() == b"content"
        assert "the metadata store was damaged" in mount.log()
        assert list(database.parent.glob("metadata.sqlite.damaged-*"))
