"""What was read is kept on disk: for the next mount, and for when the copy that was restored for it has lapsed."""

import os

import pytest

from support.archive import attribute, count, put, restores, set_attribute, thaw
from support.command import thawfs
from support.mount import wait_until
from support.reader import Reader, read, sha256

CONTENT = os.urandom(300_000)
READ_BACK = ("ok", sha256(CONTENT))


def block_files(mount):
    return [path for path in mount.path.parent.glob("cache/*/blocks/??/*") if path.is_file()]


def test_what_was_read_is_not_fetched_by_the_next_mount(mounting, emulator, objects):
    objects.put("f", CONTENT)
    mount = mounting()
    with mount:
        assert read(mount.path / "f") == READ_BACK
    emulator.clear_requests()
    with mount:
        assert read(mount.path / "f") == READ_BACK
        assert count(emulator, "GetObject") == 0


def test_what_was_restored_is_readable_when_its_copy_has_lapsed(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT, archive.quick)
    mount = archive.mount(emulator, tmp_path)
    with mount:
        with Reader(mount.path / "f") as reader:
            thaw(emulator, "f", archive.quick_span)
            assert reader.result() == READ_BACK
        emulator.advance("40d")
        assert read(mount.path / "f") == READ_BACK
    # Nothing would be sent for a reader.
    mount.options["on_frozen"] = "refuse"
    with mount:
        assert set_attribute(mount.path / "f", "refresh") is None
        wait_until(lambda: attribute(mount.path / "f", "restore_status") == "frozen", "the copy to have lapsed", 60)
        assert read(mount.path / "f") == READ_BACK
        assert restores(emulator) == 1


def test_without_a_cache_nothing_of_it_is_on_disk(mounting, emulator, objects):
    objects.put("f", CONTENT)
    with mounting(options={"cache": "off"}) as mount:
        assert read(mount.path / "f") == READ_BACK
    assert not block_files(mount)


@pytest.mark.without("oas", why="what others do to a vault is seen with its next inventory")
def test_an_object_that_was_replaced_is_not_taken_from_the_cache(mounting, objects):
    objects.put("f", CONTENT)
    mount = mounting(options={"metadata_ttl": "1s"})
    with mount:
        assert read(mount.path / "f") == READ_BACK
    objects.put("f", b"x" * len(CONTENT))
    with mount:
        wait_until(lambda: read(mount.path / "f") == ("ok", sha256(b"x" * len(CONTENT))), "the new content")


@pytest.mark.parametrize("dialect", ["s3"])
def test_a_mount_that_was_killed_leaves_no_wrong_bytes(mounting, emulator, objects, dialect):
    for number in range(20):
        objects.put(f"f{number}", CONTENT[number:])
    mount = mounting()
    with mount:
        for number in range(10):
            assert read(mount.path / f"f{number}")[0] == "ok"
        mount.kill()
    with mount:
        for number in range(20):
            assert read(mount.path / f"f{number}") == ("ok", sha256(CONTENT[number:]))


@pytest.mark.parametrize("dialect", ["s3"])
def test_what_the_disk_has_changed_is_fetched_again_and_told_of(mounting, emulator, objects, dialect):
    objects.put("f", CONTENT)
    mount = mounting()
    with mount:
        assert read(mount.path / "f") == READ_BACK
    [file] = block_files(mount)
    with open(file, "r+b") as changed:
        changed.seek(1000)
        changed.write(b"changed")
    done = thawfs("cache", "verify", mount.source, "-o", mount.option_text(), env=mount.env)
    assert done.returncode == 1 and "1 of 1 segments" in done.stdout
    emulator.clear_requests()
    with mount:
        assert read(mount.path / "f") == READ_BACK
        assert count(emulator, "GetObject") > 0
    with open(block_files(mount)[0], "r+b") as changed:
        changed.truncate(70_000)
    with mount:
        assert read(mount.path / "f") == READ_BACK
        assert "is not what was written" in mount.log()


@pytest.mark.parametrize("dialect", ["s3"])
def test_the_cache_is_cleared_of_a_source_that_is_not_mounted(mounting, emulator, objects, dialect):
    objects.put("f", CONTENT)
    mount = mounting()
    with mount:
        assert read(mount.path / "f") == READ_BACK
        busy = thawfs("cache", "clear", mount.source, "-o", mount.option_text(), env=mount.env)
        assert busy.returncode == 1 and "unmount it first" in busy.stderr
    done = thawfs("cache", "clear", mount.source, "-o", mount.option_text(), env=mount.env)
    assert done.returncode == 0 and "thrown away" in done.stdout, done.stderr
    assert not block_files(mount)
    emulator.clear_requests()
    with mount:
        assert read(mount.path / "f") == READ_BACK
        assert count(emulator, "GetObject") > 0


@pytest.mark.parametrize("dialect", ["s3"])
def test_small_files_that_are_read_in_order_are_fetched_ahead(mounting, emulator, objects, dialect):
    for number in range(60):
        objects.put(f"d/{number:03}", CONTENT[:16_000 + number])
    emulator.fault({"latency_ms": 20}, op="GetObject")
    with mounting() as mount:
        os.listdir(mount.path / "d")
        emulator.clear_requests()
        for number in range(50):
            assert (mount.path / f"d/{number:03}").read_bytes() == CONTENT[:16_000 + number]
        requests = [line for line in emulator.requests()["requests"] if line["op"] == "GetObject"]
        # Each once, though most were asked for before their reader came; and not all of the directory.
        keys = [line["key"] for line in requests]
        assert len(keys) == len(set(keys))
        assert set(keys) >= {f"d/{number:03}" for number in range(50)}
