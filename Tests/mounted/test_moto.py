"""thawfs mounts a bucket of moto, an S3 store that is nobody's of ours, and thaws its objects.

Moto restores in steps: with `manual` progression each request that looks at the object is one step.
"""

import pytest

from support.archive import attribute, set_attribute
from support.mount import Mount, wait_until
from support.reader import Reader, read, run, sha256

CONTENT = bytes(range(256)) * 1000
READ_BACK = ("ok", sha256(CONTENT))


def mounted(moto, directory, **options):
    return Mount(None, "s3://bkt", directory, moto.OPTIONS | {
        "endpoint": moto.url, "restore_tier": "Expedited"} | options)


def test_hot_objects_are_listed_and_read(moto, tmp_path):
    for key in ("a", "d/b", "d/e/c"):
        moto.put(key, CONTENT)
    with mounted(moto, tmp_path) as mount:
        found = run("find", mount.path, "-type", "f", "-printf", "%P %s\n").stdout.split("\n")
        assert sorted(found) == ["", "a 256000", "d/b 256000", "d/e/c 256000"]
        assert read(mount.path / "d/e/c") == READ_BACK


@pytest.mark.parametrize("steps", [1, 3])
def test_a_frozen_object_thaws_under_its_reader(moto, tmp_path, steps):
    moto.restore_in_steps(steps)
    moto.put("f", CONTENT, "GLACIER")
    with mounted(moto, tmp_path) as mount:
        assert attribute(mount.path / "f", "storage_class") == "GLACIER"
        assert attribute(mount.path / "f", "restore_status") == "frozen"
        with Reader(mount.path / "f") as reader:
            assert reader.result() == READ_BACK
        assert attribute(mount.path / "f", "restore_status") == "restored"
        assert attribute(mount.path / "f", "restore_expiry")
        assert moto.requests("POST /bkt/f?restore") == 1


def test_a_slow_class_is_restored_by_eagain(moto, tmp_path):
    moto.restore_in_steps(2)
    moto.put("f", CONTENT, "DEEP_ARCHIVE")
    with mounted(moto, tmp_path, restore_tier="Bulk") as mount:
        assert read(mount.path / "f") == ("open", "EAGAIN")
        wait_until(lambda: read(mount.path / "f") == READ_BACK, "the file to open", 60)
        assert moto.requests("POST /bkt/f?restore") == 1


def test_a_restore_by_name_is_taken(moto, tmp_path):
    moto.restore_in_steps(2)
    moto.put("f", CONTENT, "GLACIER")
    with mounted(moto, tmp_path, on_frozen="refuse") as mount:
        assert read(mount.path / "f") == ("open", "EREMOTE")
        assert set_attribute(mount.path / "f", "restore", "days=3,tier=Bulk") is None
        def is_restored():
            set_attribute(mount.path / "f", "refresh")
            return attribute(mount.path / "f", "restore_status") == "restored"
        wait_until(is_restored, "the restore", 60)
        assert read(mount.path / "f") == READ_BACK


def test_a_standard_object_needs_no_restore(moto, tmp_path):
    moto.put("f", CONTENT)
    with mounted(moto, tmp_path) as mount:
        assert set_attribute(mount.path / "f", "restore") == "Operation not supported"
        assert moto.requests("?restore") == 0
