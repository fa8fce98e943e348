"""What s3fs and rclone write is the same file in thawfs, and what thawfs writes is the same file in them: content,
mode, owner, time, symbolic links, extended attributes and directories."""

import json
import os
import stat

import pytest

from support.archive import count
from support.peers import S3fs, rclone
from support.reader import read, run, sha256
from support.stored import S3Stored

NANOSECONDS = 1_600_000_000_123_456_789


@pytest.fixture
def dialect():
    """s3fs and rclone speak S3 to the emulator."""
    return "s3"


def attributes(path):
    """What both sides must agree on, of a file or link; the time in microseconds, because s3fs rounds below them."""
    status = os.lstat(path)
    return stat.filemode(status.st_mode), status.st_uid, status.st_gid, status.st_size, status.st_mtime_ns // 1000


def extended(path):
    """The extended attributes that were set by a user; others are the filesystem's own."""
    return {name: os.getxattr(path, name) for name in os.listxattr(path)
            if name.startswith("user.") and not name.startswith("user.thaw.")}


def write_tree(root):
    """A directory, a file with everything that a file can have, and a link to it."""
    (root / "d").mkdir()
    (root / "d").chmod(0o2750)
    (root / "d/f").write_bytes(b"content")
    os.chown(root / "d/f", 12, 34)
    (root / "d/f").chmod(0o4751)
    os.setxattr(root / "d/f", "user.comment", b"\x00any bytes\xff")
    os.setxattr(root / "d/f", "user.other", "Größe".encode())
    os.setxattr(root / "d", "user.note", b"of a directory")
    os.utime(root / "d/f", ns=(NANOSECONDS, NANOSECONDS))
    os.utime(root / "d", ns=(NANOSECONDS, NANOSECONDS))
    os.symlink("d/f", root / "l")


def check_tree(root):
    mode, owner, group, size, modified = attributes(root / "d/f")
    assert (mode, owner, group, size, modified) == ("-rwsr-x--x", 12, 34, 7, NANOSECONDS // 1000)
    assert extended(root / "d/f") == {"user.comment": b"\x00any bytes\xff", "user.other": "Größe".encode()}
    assert extended(root / "d") == {"user.note": b"of a directory"}
    assert attributes(root / "l")[0] == "lrwxrwxrwx" and os.readlink(root / "l") == "d/f"
    assert read(root / "l") == ("ok", sha256(b"content"))
    assert sorted(os.listdir(root)) == ["d", "l"] and os.listdir(root / "d") == ["f"]


def check_directory(path):
    """The attributes of a directory, which its marker holds."""
    mode, *_, modified = attributes(path)
    assert (mode, modified) == ("drwxr-s---", NANOSECONDS // 1000)


def test_what_s3fs_writes_is_the_same_here(emulator, mounting, tmp_path):
    with S3fs(emulator, tmp_path) as s3fs:
        write_tree(s3fs.path)
        check_tree(s3fs.path)
        check_directory(s3fs.path / "d")
    with mounting() as mount:
        check_directory(mount.path / "d")
        check_tree(mount.path)


def test_what_is_written_here_is_the_same_in_s3fs(emulator, mounting, tmp_path):
    with mounting() as mount:
        write_tree(mount.path)
        check_tree(mount.path)
        check_directory(mount.path / "d")
    with S3fs(emulator, tmp_path) as s3fs:
        check_tree(s3fs.path)
        check_directory(s3fs.path / "d")


def test_what_is_changed_here_of_a_file_of_s3fs_leaves_the_rest(emulator, mounting, tmp_path):
    with S3fs(emulator, tmp_path) as s3fs:
        write_tree(s3fs.path)
        (s3fs.path / "empty").mkdir()
    with mounting() as mount:
        assert os.listdir(mount.path / "empty") == []
        os.rmdir(mount.path / "empty")
        (mount.path / "d/f").chmod(0o600)
        os.removexattr(mount.path / "d/f", "user.other")
        os.rename(mount.path / "d", mount.path / "e")
        os.rename(mount.path / "l", mount.path / "m")
    with S3fs(emulator, tmp_path) as s3fs:
        assert sorted(os.listdir(s3fs.path)) == ["e", "m"]
        assert attributes(s3fs.path / "e/f") == ("-rw-------", 12, 34, 7, NANOSECONDS // 1000)
        assert extended(s3fs.path / "e/f") == {"user.comment": b"\x00any bytes\xff"}
        check_directory(s3fs.path / "e")
        assert os.readlink(s3fs.path / "m") == "d/f"


@pytest.fixture
def source(tmp_path):
    """A directory for rclone to copy."""
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    for name, mode in (("f", 0o640), ("sub/g", 0o755)):
        (source / name).write_bytes(name.encode() * 1000)
        (source / name).chmod(mode)
        os.utime(source / name, ns=(NANOSECONDS, NANOSECONDS))
    return source


def test_what_rclone_copies_has_its_time_here(emulator, mounting, source):
    rclone(emulator, "copy", source, "store:bkt/r")
    with mounting() as mount:
        for name in ("f", "sub/g"):
            status = os.stat(mount.path / "r" / name)
            assert status.st_mtime_ns == NANOSECONDS and stat.filemode(status.st_mode) == "-rw-r--r--"
            assert read(mount.path / "r" / name) == ("ok", sha256(name.encode() * 1000))
        assert run("diff", "-r", source, mount.path / "r").returncode == 0


def test_what_rclone_copies_with_metadata_has_its_mode_and_owner_here(emulator, mounting, source):
    os.chown(source / "f", 12, 34)
    rclone(emulator, "copy", "--metadata", source, "store:bkt/r")
    with mounting() as mount:
        for name in ("f", "sub/g"):
            assert attributes(mount.path / "r" / name) == attributes(source / name)
            assert os.stat(mount.path / "r" / name).st_mtime_ns == NANOSECONDS


def test_what_is_written_here_has_its_time_in_rclone(emulator, mounting, tmp_path):
    with mounting() as mount:
        (mount.path / "d").mkdir()
        (mount.path / "d/f").write_bytes(b"content")
        os.utime(mount.path / "d/f", ns=(NANOSECONDS, NANOSECONDS))
        (mount.path / "e").mkdir()
    [found] = json.loads(rclone(emulator, "lsjson", "store:bkt/d"))
    assert (found["Path"], found["Size"], found["ModTime"]) == ("f", 7, "2020-09-13T12:26:40.123456789Z")
    # A marker makes a directory of it that is empty.
    assert rclone(emulator, "lsf", "store:bkt") == "d/\ne/\n" and rclone(emulator, "lsf", "store:bkt/e") == ""
    rclone(emulator, "copy", "store:bkt/d", tmp_path / "back")
    assert (tmp_path / "back/f").read_bytes() == b"content"
    assert (tmp_path / "back/f").stat().st_mtime_ns == NANOSECONDS


def test_what_is_changed_here_of_a_file_of_rclone_leaves_the_rest(emulator, mounting, source):
    rclone(emulator, "copy", "--metadata", source, "store:bkt/r")
    before = S3Stored(emulator).metadata("r/f")
    with mounting() as mount:
        os.utime(mount.path / "r/f", ns=(NANOSECONDS, NANOSECONDS + 1_000_000_000))
    after = S3Stored(emulator).metadata("r/f")
    # Its octal mode is still one.
    assert after["mode"] == before["mode"] == "100640"
    found = json.loads(rclone(emulator, "lsjson", "store:bkt/r/f"))
    assert found[0]["ModTime"] == "2020-09-13T12:26:41.123456789Z"


def test_a_look_at_one_name_asks_for_its_attributes(emulator, mounting, source):
    rclone(emulator, "copy", "--metadata", source, "store:bkt/r")
    with mounting() as mount:
        emulator.clear_requests()
        assert run("stat", "-c", "%a %Y", mount.path / "r/f").stdout == f"640 {NANOSECONDS // 10**9}\n"
        assert count(emulator, "HeadObject") >= 1
        assert count(emulator, "GetObject") == 0
        emulator.clear_requests()
        assert run("stat", "-c", "%a", mount.path / "r/f").stdout == "640\n"
        assert emulator.requests()["counts"] == {}


def test_a_look_at_a_directory_asks_its_marker_and_a_way_through_it_does_not(emulator, mounting, tmp_path):
    with mounting() as mount:
        (mount.path / "d/sub").mkdir(parents=True)
        (mount.path / "d").chmod(0o2750)
        (mount.path / "d/sub/f").write_bytes(b"content")
    with mounting(options={"state_dir": str(tmp_path / "other")}) as mount:
        emulator.clear_requests()
        assert read(mount.path / "d/sub/f") == ("ok", sha256(b"content"))
        assert count(emulator, "HeadObject", "d/") == count(emulator, "HeadObject", "d/sub/") == 0
        emulator.clear_requests()
        for _ in range(2):
            assert stat.filemode(os.stat(mount.path / "d").st_mode) == "drwxr-s---"
        # A first page, which shows that there is a marker, and what it says.
        assert emulator.requests()["counts"] == {"ListObjectsV2": 1, "HeadObject": 1}
        S3Stored(emulator).client.put_object(Bucket="bkt", Key="d/", Body=b"", Metadata={"mode": str(0o040700)})
        os.setxattr(mount.path / "d", "user.thaw.refresh", b"")
        assert stat.filemode(os.stat(mount.path / "d").st_mode) == "drwx------"
