"""`setfattr -n user.thaw.restore -v from=hbr:…` on a directory: a snapshot of Cloud Backup is restored into it."""

import pytest

from support.archive import remove_attribute, set_attribute
from support.backups import (
    CONTENTS, SPAN, created, make_vault, mount, restore_into, restore_jobs, standing, wait_for_standing)
from support.mount import Mount, wait_until


def files(directory):
    return {path.relative_to(directory).as_posix(): path for path in directory.rglob("*") if path.is_file()}


def test_a_snapshot_is_restored_into_a_directory_and_its_files_appear(emulator, objects, tmp_path):
    make_vault(emulator)
    objects.put("into/old.txt", b"old")
    # What is known of the directory is never asked again by itself.
    with mount(emulator, tmp_path, metadata_ttl="forever") as mounted:
        directory = mounted.path / "into"
        assert list(files(directory)) == ["old.txt"] and not (directory / "d").exists()
        restore_into(directory, "from=hbr:v-1/s-1,exclude=/d/c")
        wait_until(lambda: created(emulator) == 1, "the job to be made", 60)
        emulator.advance("60s")
        wait_for_standing(directory, "running progress=50%")
        assert set_attribute(directory, "restore", "from=hbr:v-1/s-1") == "Device or resource busy"
        restore_into(directory, "from=hbr:v-1/s-1,exclude=/d/c")
        emulator.advance(SPAN)
        wait_for_standing(directory, "complete")
        wait_until(lambda: len(files(directory)) == 3, "the restored files", 60)
        assert {name: path.read_bytes() for name, path in files(directory).items()} == CONTENTS | {"old.txt": b"old"}
        assert created(emulator) == 1


@pytest.mark.parametrize("how", ["unmounted", "killed"])
def test_a_restore_from_a_backup_goes_on_with_the_next_mount(emulator, tmp_path, how):
    make_vault(emulator)
    # Its reply does not come before the mount ends.
    emulator.fault({"latency_ms": 20000}, op="CreateRestoreJob", times=1)
    with mount(emulator, tmp_path) as mounted:
        restore_into(mounted.path)
        wait_until(lambda: standing(mounted.path) == "queued progress=0%", "the wish to show")
        wait_until(lambda: len(restore_jobs(emulator)) == 1, "the job to be made", 60)
        if how == "killed":
            mounted.kill()
    with mount(emulator, tmp_path) as mounted:
        wait_until(lambda: "restore job r-1 is there" in mounted.log(), "the job to be found", 60)
        emulator.advance(SPAN)
        wait_for_standing(mounted.path, "complete")
        assert (mounted.path / "a.txt").read_bytes() == CONTENTS["a.txt"]
    assert [job["id"] for job in restore_jobs(emulator)] == ["r-1"]


def test_a_lost_reply_leaves_one_restore_job(emulator, tmp_path):
    make_vault(emulator)
    emulator.fault({"lose_reply": True}, op="CreateRestoreJob", times=1)
    with mount(emulator, tmp_path) as mounted:
        restore_into(mounted.path)
        wait_until(lambda: "restore job r-1" in mounted.log(), "the job to be found", 60)
        emulator.advance(SPAN)
        wait_for_standing(mounted.path, "complete")
    assert created(emulator) == 1


def test_what_is_not_restored_shows_in_the_attribute_and_in_the_log(emulator, tmp_path):
    make_vault(emulator, ending="PARTIAL_COMPLETE", failing=["/d/b.txt"])
    with mount(emulator, tmp_path) as mounted:
        restore_into(mounted.path)
        wait_until(lambda: created(emulator) == 1, "the job to be made", 60)
        emulator.advance(SPAN)
        wait_for_standing(mounted.path, "partial error_file=r-1/errors.csv")
        assert sorted(files(mounted.path)) == ["a.txt", "d/c"]
        assert "r-1/errors.csv" in mounted.log()
        # Seen: it is forgotten.
        assert remove_attribute(mounted.path, "restore") is None
        assert standing(mounted.path) is None
        # A vault that there is not.
        restore_into(mounted.path, "from=hbr:v-9/s-1")
        wait_until(lambda: (standing(mounted.path) or "").startswith("failed error=VaultNotExist"), "the failure", 60)
        wait_until(lambda: "VaultNotExist" in mounted.log(), "the log to say so")


def test_removing_the_attribute_cancels_the_restore_job(emulator, tmp_path):
    make_vault(emulator)
    with mount(emulator, tmp_path) as mounted:
        restore_into(mounted.path)
        wait_until(lambda: created(emulator) == 1, "the job to be made", 60)
        assert remove_attribute(mounted.path, "restore") is None
        wait_until(lambda: emulator.requests()["counts"].get("CancelRestoreJob") == 1, "it to be cancelled", 60)
        emulator.advance(SPAN)
        wait_for_standing(mounted.path, "cancelled")
        assert files(mounted.path) == {}


def test_backups_are_restored_into_directories_of_an_oss_bucket_only(emulator, objects, tmp_path):
    make_vault(emulator)
    objects.put("file", b"content")
    wish = "from=hbr:v-1/s-1"
    with mount(emulator, tmp_path) as mounted:
        assert set_attribute(mounted.path / "file", "restore", wish) == "Not a directory"
        assert set_attribute(mounted.path, "restore", "from=hbr:v-1") == "Invalid argument"
    with mount(emulator, tmp_path, ro=None) as mounted:
        assert set_attribute(mounted.path, "restore", wish) == "Read-only file system"
    for source in ["s3://bkt", "oss://"]:
        with Mount(emulator, source, tmp_path) as mounted:
            assert set_attribute(mounted.path, "restore", wish) == "Operation not supported"
    assert created(emulator) == 0
