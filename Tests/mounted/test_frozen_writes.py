"""Frozen objects are overwritten and deleted without a restore; what changes a part of one waits for it as reads do;
what needs a copy at the store is refused whole, or kept until the object is thawed."""

import errno
import os
import sys

import pytest

from support.archive import attribute, count, put, restores, s3_client, set_attribute, thaw
from support.mount import wait_until
from support.reader import Program, run
from support.stored import stored
from support.writer import write

CONTENT = b"0123456789" * 1000

# Writes in the middle; says in one line how far it came.
CHANGE = """
import errno, os, sys
try:
    step = "open"
    file = os.open(sys.argv[1], os.O_RDWR)
    step = "write"
    os.pwrite(file, b"changed", 5000)
    step = "close"
    os.close(file)
    print("ok")
except OSError as error:
    print(step, errno.errorcode[error.errno])
"""
CHANGED = CONTENT[:5000] + b"changed" + CONTENT[5007:]


def change(path):
    return [sys.executable, "-I", "-S", "-c", CHANGE, path]


def errno_of(call, *arguments):
    try:
        call(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno]
    return None


def contents(emulator, archive):
    """Of what is readable; None for what is frozen."""
    store = stored(emulator, archive.dialect)
    return {key: None if is_frozen(emulator, key) else store.content(key) for key in store.keys()}


def is_frozen(emulator, key):
    head = s3_client(emulator).head_object(Bucket="bkt", Key=key)
    is_cold = head.get("StorageClass", "STANDARD") not in ("STANDARD", "Standard")
    return is_cold and "expiry" not in head.get("Restore", "")


# -- Without a restore


@pytest.mark.without("oas", why="what is written to a vault cannot be read before it is retrieved")
@pytest.mark.parametrize("on_frozen", ["block", "eagain", "refuse"])
def test_overwriting_and_deleting_restore_nothing(emulator, archive, tmp_path, on_frozen):
    for key in ("a", "b", "c", "d", "e"):
        put(emulator, key, CONTENT, archive.slow)
    with archive.mount(emulator, tmp_path, on_frozen=on_frozen) as mount:
        assert write(mount.path / "a", 1000, os.O_WRONLY | os.O_TRUNC) == ("ok",)
        os.truncate(mount.path / "b", 0)
        os.unlink(mount.path / "c")
        (mount.path / "new").write_bytes(b"new")
        os.rename(mount.path / "new", mount.path / "d")
        assert run("sh", "-c", "echo over > e", cwd=mount.path).returncode == 0
        assert restores(emulator) == 0 and count(emulator, "GetObject") == 0
        assert contents(emulator, archive) == {"a": b"w" * 1000, "b": b"", "d": b"new", "e": b"over\n"}
        assert attribute(mount.path / "a", "restore_status") == "online"
        assert (mount.path / "d").read_bytes() == b"new"


def test_a_tree_of_frozen_files_is_deleted_without_a_restore(emulator, archive, tmp_path):
    for number in range(20):
        put(emulator, f"d/{number % 3}/{number}", CONTENT, archive.slow)
    with archive.mount(emulator, tmp_path) as mount:
        assert run("rm", "-r", mount.path / "d").returncode == 0
        assert restores(emulator) == 0
        assert stored(emulator, archive.dialect).keys() == []


# -- Changing a part

# The kernel holds up whoever would refresh the file, for as long as the writer waits.
WRITERS = pytest.mark.without("cos", "oas", why="it is looked at every few minutes only, and nobody can refresh it")


@WRITERS
def test_changing_a_part_waits_for_the_restore(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT, archive.quick)
    with archive.mount(emulator, tmp_path) as mount, Program(*change(mount.path / "f")) as program:
        thaw(emulator, "f", archive.quick_span)
        assert program.finish()[1] == "ok\n"
        assert contents(emulator, archive) == {"f": CHANGED}
        assert attribute(mount.path / "f", "restore_status") == "online"
        assert (mount.path / "f").read_bytes() == CHANGED


@WRITERS
def test_appending_waits_for_the_restore(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT, archive.quick)
    with archive.mount(emulator, tmp_path) as mount:
        with Program("sh", "-c", "echo more >> f", cwd=mount.path) as program:
            thaw(emulator, "f", archive.quick_span)
            assert program.finish()[0] == 0
        assert contents(emulator, archive) == {"f": CONTENT + b"more\n"}


@pytest.mark.without("oas", why="what is written to a vault cannot be read before it is retrieved")
@pytest.mark.parametrize("on_frozen, expected, asked", [
    ("eagain", "EAGAIN", 1), ("refuse", "EREMOTE", 0), ("block", "EAGAIN", 1),
], ids=["eagain", "refuse", "too-slow"])
def test_changing_a_part_that_may_not_wait_fails_and_changes_nothing(
        emulator, archive, tmp_path, on_frozen, expected, asked):
    put(emulator, "f", CONTENT, archive.slow)
    with archive.mount(emulator, tmp_path, on_frozen=on_frozen, restore_tier="Standard") as mount:
        step, error = run(*change(mount.path / "f")).stdout.split()
        assert error == expected
        assert restores(emulator) == asked
        emulator.set_object("bkt", "f", state="restored")
        assert stored(emulator, archive.dialect).content("f") == CONTENT
        assert count(emulator, "PutObject") == 1


# -- What needs a copy at the store


@pytest.mark.without("oas", why="names and attributes are in the catalogue: what is frozen changes them freely")
def test_renaming_and_shortening_a_frozen_file_are_refused(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT, archive.slow)
    put(emulator, "g", b"hot")
    with archive.mount(emulator, tmp_path) as mount:
        emulator.clear_requests()
        assert errno_of(os.rename, mount.path / "f", mount.path / "h") == "EBUSY"
        assert errno_of(os.rename, mount.path / "f", mount.path / "g") == "EBUSY"
        assert errno_of(os.truncate, mount.path / "f", 100) == "EBUSY"
        assert errno_of(os.truncate, mount.path / "f", 100_000) == "EBUSY"
        assert restores(emulator) == count(emulator, "CopyObject") == count(emulator, "PutObject") == 0
        assert sorted(os.listdir(mount.path)) == ["f", "g"]
        assert (mount.path / "f").stat().st_size == len(CONTENT)
        assert (mount.path / "g").read_bytes() == b"hot"
        assert "f" in mount.log() and "frozen" in mount.log()


@pytest.mark.without("oas", why="names and attributes are in the catalogue: what is frozen changes them freely")
def test_a_directory_with_a_frozen_file_below_is_renamed_whole_or_not_at_all(emulator, archive, tmp_path):
    for number in range(30):
        put(emulator, f"d/{number % 4}/{number:02}", b"hot")
    put(emulator, "d/9/zz", CONTENT, archive.slow)
    with archive.mount(emulator, tmp_path) as mount:
        emulator.clear_requests()
        assert errno_of(os.rename, mount.path / "d", mount.path / "e") == "EBUSY"
        assert count(emulator, "CopyObject") == count(emulator, "DeleteObjects") == restores(emulator) == 0
        assert "d/9/zz" in mount.log()
        assert os.listdir(mount.path) == ["d"]
        emulator.set_object("bkt", "d/9/zz", state="restored")
        assert set_attribute(mount.path / "d/9/zz", "refresh") is None
        os.rename(mount.path / "d", mount.path / "e")
        assert attribute(mount.path / "e/9/zz", "restore_status") == archive.copy_status
        assert len(stored(emulator, archive.dialect).keys("e/")) == 31


def test_attributes_of_a_frozen_file_are_kept_without_a_restore(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT, archive.quick)
    def looks(path):
        status = path.stat()
        return (status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, os.getxattr(path, "user.comment"))
    wanted = (0o100604, 12, 34, 10**18 + 5 * 10**8, b"cold")
    with archive.mount(emulator, tmp_path) as mount:
        path = mount.path / "f"
        os.chmod(path, 0o604)
        os.chown(path, 12, 34)
        os.setxattr(path, "user.comment", b"cold")
        os.utime(path, ns=(wanted[3], wanted[3]))
        assert looks(path) == wanted
        assert restores(emulator) == count(emulator, "CopyObject") == 0
        mount.unmount()
        assert mount.mount().returncode == 0
        assert looks(path) == wanted


@pytest.mark.without("oas", why="names and attributes are in the catalogue: what is frozen changes them freely")
def test_attributes_kept_for_a_frozen_file_are_written_before_its_restored_copy_lapses(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT, archive.slow)
    with archive.mount(emulator, tmp_path) as mount:
        os.chmod(mount.path / "f", 0o604)
        os.setxattr(mount.path / "f", "user.comment", b"cold")
        emulator.set_object("bkt", "f", state="restored", **{"for": "10m"})
        assert count(emulator, "CopyObject") == 0
        assert set_attribute(mount.path / "f", "refresh") is None
        # Looks, and finds the copy; or what it was written to already, which with IBM is online.
        assert attribute(mount.path / "f", "storage_class") in (archive.slow, archive.standard)
        wait_until(lambda: count(emulator, "CopyObject") == 1, "the attributes to be written", 60)
        wait_until(lambda: "are written to it" in mount.log(), "their end", 60)
    metadata = stored(emulator, archive.dialect).metadata("f")
    assert metadata["mode"] == str(0o100604) and "xattr" in metadata
    with archive.mount(emulator, tmp_path, state_dir=str(tmp_path / "another")) as mount:
        assert (mount.path / "f").stat().st_mode == 0o100604
        assert os.getxattr(mount.path / "f", "user.comment") == b"cold"
        assert attribute(mount.path / "f", "restore_status") == archive.copy_status


def test_attributes_kept_for_a_frozen_file_go_with_it(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT, archive.slow)
    with archive.mount(emulator, tmp_path) as mount:
        os.chmod(mount.path / "f", 0o600)
        os.setxattr(mount.path / "f", "user.comment", b"cold")
        os.unlink(mount.path / "f")
        (mount.path / "f").write_bytes(b"another")
        assert (mount.path / "f").stat().st_mode == 0o100644
        assert errno_of(os.getxattr, mount.path / "f", "user.comment") == "ENODATA"


@pytest.mark.without("oas", why="what is written to a vault cannot be read before it is retrieved")
def test_an_overwritten_frozen_file_keeps_the_attributes_given_to_it(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT, archive.slow)
    with archive.mount(emulator, tmp_path) as mount:
        os.chmod(mount.path / "f", 0o600)
        (mount.path / "f").write_bytes(b"another")
        assert (mount.path / "f").stat().st_mode == 0o100600
        assert stored(emulator, archive.dialect).metadata("f")["mode"] == str(0o100600)


# -- During a restore


def restoring(emulator, archive, mount):
    """Begins a restore by name."""
    assert set_attribute(mount.path / "f", "restore", archive.quick_wish) is None
    assert attribute(mount.path / "f", "restore_status") == "restoring"


@pytest.mark.without("oas", why="what is written to a vault cannot be read before it is retrieved")
def test_a_file_is_overwritten_while_it_is_restored(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT, archive.quick)
    with archive.mount(emulator, tmp_path) as mount:
        restoring(emulator, archive, mount)
        (mount.path / "f").write_bytes(b"new")
        assert (mount.path / "f").read_bytes() == b"new"
        assert attribute(mount.path / "f", "restore_status") == "online"
        emulator.advance(archive.quick_span)
        assert (mount.path / "f").read_bytes() == b"new"
        assert restores(emulator) == 1


def test_a_file_is_deleted_while_it_is_restored_and_its_readers_are_told(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT, archive.quick)
    with archive.mount(emulator, tmp_path) as mount:
        with Program("cat", mount.path / "f") as reader:
            wait_until(lambda: restores(emulator) == 1, "the restore")
            os.unlink(mount.path / "f")
            status, output, errors = reader.finish()
            assert status != 0 and output == "" and errors
        assert os.listdir(mount.path) == []
        assert stored(emulator, archive.dialect).keys() == []


@pytest.mark.without("oas", why="names and attributes are in the catalogue: what is frozen changes them freely")
def test_a_file_is_not_renamed_while_it_is_restored_but_after(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT, archive.quick)
    with archive.mount(emulator, tmp_path) as mount:
        restoring(emulator, archive, mount)
        assert errno_of(os.rename, mount.path / "f", mount.path / "g") == "EBUSY"
        thaw(emulator, "f", archive.quick_span, mount.path / "f")
        wait_until(lambda: attribute(mount.path / "f", "restore_status") == "restored", "the restore")
        os.rename(mount.path / "f", mount.path / "g")
        assert os.listdir(mount.path) == ["g"]
        assert attribute(mount.path / "g", "restore_status") == archive.copy_status
        assert stored(emulator, archive.dialect).keys() == ["g"]


@pytest.mark.without("oas", why="what is written to a vault cannot be read before it is retrieved")
def test_a_restored_file_is_changed_without_another_restore(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT, archive.quick, state="restored")
    with archive.mount(emulator, tmp_path) as mount:
        assert run(*change(mount.path / "f")).stdout == "ok\n"
        assert restores(emulator) == 0
        assert contents(emulator, archive) == {"f": CHANGED}


# -- Classes

CLASSY = pytest.mark.without("cos", "oas", why="no object is given a class there")


@CLASSY
def test_a_file_changes_its_class(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT)
    with archive.mount(emulator, tmp_path) as mount:
        os.chmod(mount.path / "f", 0o600)
        assert set_attribute(mount.path / "f", "transition", archive.slow) is None
        assert stored(emulator, archive.dialect).storage_class("f") == archive.slow
        assert attribute(mount.path / "f", "storage_class") == archive.slow
        assert attribute(mount.path / "f", "restore_status") == "frozen"
        assert (mount.path / "f").stat().st_mode == 0o100600
        assert set_attribute(mount.path / "f", "transition", "NoSuchClass") is not None


@CLASSY
def test_a_restored_file_is_made_a_hot_one(emulator, archive, tmp_path):
    hot = archive.standard
    put(emulator, "f", CONTENT, archive.quick)
    with archive.mount(emulator, tmp_path) as mount:
        assert set_attribute(mount.path / "f", "transition", hot) == "Device or resource busy"
        restoring(emulator, archive, mount)
        thaw(emulator, "f", archive.quick_span, mount.path / "f")
        wait_until(lambda: attribute(mount.path / "f", "restore_status") == "restored", "the restore")
        assert set_attribute(mount.path / "f", "transition", hot) is None
        assert attribute(mount.path / "f", "restore_status") == "online"
        assert stored(emulator, archive.dialect).storage_class("f") == hot
        assert (mount.path / "f").read_bytes() == CONTENT


@CLASSY
def test_a_directory_changes_its_class(emulator, archive, tmp_path):
    names = [f"d/{number}" for number in range(10)] + ["d/sub/a", "d/sub/b"]
    for name in names:
        put(emulator, name, name.encode())
    put(emulator, "beside", b"hot")
    with archive.mount(emulator, tmp_path) as mount:
        assert set_attribute(mount.path / "d", "transition", archive.slow) is None
        store = stored(emulator, archive.dialect)
        wait_until(lambda: {store.storage_class(name) for name in names} == {archive.slow}, "all to be frozen")
        assert store.storage_class("beside") in ("Standard", "STANDARD")
        wait_until(lambda: attribute(mount.path / "d/sub/a", "restore_status") == "frozen", "the mount to know")


@CLASSY
def test_new_files_of_an_archive_class_are_frozen_at_once(emulator, archive, tmp_path):
    with archive.mount(emulator, tmp_path, storage_class=archive.slow) as mount:
        (mount.path / "f").write_bytes(CONTENT)
        assert attribute(mount.path / "f", "restore_status") == "frozen"
        (mount.path / "f").write_bytes(b"again")
        assert restores(emulator) == 0
        os.unlink(mount.path / "f")
