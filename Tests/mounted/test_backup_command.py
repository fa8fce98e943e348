"""`thawfs backup`: vaults, snapshots, restore jobs, and how they are watched. Asks Cloud Backup itself, no mount."""

import signal

from support.archive import s3_client
from support.backups import (
    CONTENTS, FILES, SPAN, backup, backup_json, backup_running, created, make_vault, restore_jobs)
from support.waiting import wait_until

RESTORE = ("restore", "--vault", "v-1", "--snapshot", "s-1", "--to", "oss://bkt/into")


def keys(emulator):
    return [entry["Key"] for entry in s3_client(emulator).list_objects_v2(Bucket="bkt").get("Contents", [])]


def test_backup_commands_list_vaults_and_snapshots(emulator):
    make_vault(emulator)
    [vault] = backup_json(emulator, "vaults")["vaults"]
    assert (vault["id"], vault["name"]) == ("v-1", "cold")
    [snapshot] = backup_json(emulator, "snapshots", "--vault", "v-1", "--bucket", "source")["snapshots"]
    assert (snapshot["id"], snapshot["items"], snapshot["from"]) == ("s-1", len(FILES), "source")
    assert backup(emulator, "snapshots", "--vault", "v-1", "--bucket", "other").stdout == "no snapshots\n"
    assert "cold" in backup(emulator, "vaults").stdout
    done = backup(emulator, "snapshots", "--vault", "v-2")
    assert done.returncode == 1 and "VaultNotExist" in done.stderr and "request id THAW" in done.stderr


def test_backup_restore_restores_and_shows_how_far_it_is(emulator):
    make_vault(emulator)
    with backup_running(emulator, *RESTORE, "--exclude", "/d/c", "--wait") as command:
        wait_until(lambda: created(emulator) == 1, "the job to be made", 60)
        emulator.advance("60s")
        looks = emulator.requests()["counts"].get("DescribeRestoreJobs2", 0)
        # One of them may have been under way already.
        wait_until(lambda: emulator.requests()["counts"]["DescribeRestoreJobs2"] >= looks + 2, "looks at the job", 60)
        emulator.advance(SPAN)
        status, output, errors = command.finish()
    assert status == 0, errors
    assert output.splitlines()[-1] == "job r-1: COMPLETE 100%, 2/2 files, 11 B/11 B"
    assert "job r-1: RUNNING 50%" in errors
    assert keys(emulator) == [f"into/{name}" for name in CONTENTS]


def test_the_same_backup_restore_follows_the_job_that_is_there(emulator):
    make_vault(emulator)
    # The reply to the very first is lost.
    emulator.fault({"lose_reply": True}, op="CreateRestoreJob", times=1)
    first = backup(emulator, *RESTORE)
    assert first.returncode == 0 and first.stdout.startswith("job r-1: restoring snapshot s-1 of vault v-1"), first
    assert backup(emulator, *RESTORE).stdout.startswith("job r-1 is there")
    emulator.advance(SPAN)
    assert backup(emulator, *RESTORE, "--wait").stdout.splitlines()[0].startswith("job r-1 is there")
    assert created(emulator) == 1
    # Another part of it is another wish, and so is the same once more for who insists.
    assert backup(emulator, *RESTORE, "--include", "/d").stdout.startswith("job r-2: ")
    assert backup(emulator, *RESTORE, "--again").stdout.startswith("job r-3: ")
    assert [job["id"] for job in restore_jobs(emulator)] == ["r-3", "r-2", "r-1"]


def test_ctrl_c_ends_the_watching_of_a_backup_restore_and_not_the_restore(emulator):
    make_vault(emulator)
    with backup_running(emulator, *RESTORE, "--wait") as command:
        wait_until(lambda: emulator.requests()["counts"].get("DescribeRestoreJobs2", 0) >= 2, "it to watch", 60)
        command.signal(signal.SIGINT)
        status, _, errors = command.finish()
    assert status == 130
    assert "thawfs backup jobs --vault v-1 r-1 --wait" in errors and "thawfs backup cancel --vault v-1 r-1" in errors
    assert backup(emulator, "jobs", "--vault", "v-1", "r-1", "--wait=1s").returncode == 124
    assert [job["status"] for job in restore_jobs(emulator)] == ["CREATED"]
    assert backup(emulator, "cancel", "--vault", "v-1", "r-1").returncode == 0
    emulator.advance(SPAN)
    done = backup(emulator, "jobs", "--vault", "v-1", "r-1", "--wait")
    assert done.returncode == 1 and "job r-1 ended as CANCELED" in done.stderr
    # A cancelled one does not do what is wished for.
    assert backup(emulator, *RESTORE).stdout.startswith("job r-2: ")


def test_a_backup_restore_that_is_not_whole_exits_with_1_and_names_the_error_file(emulator):
    make_vault(emulator, ending="PARTIAL_COMPLETE", failing=["/d/c"])
    assert backup(emulator, *RESTORE).returncode == 0
    emulator.advance(SPAN)
    done = backup(emulator, *RESTORE, "--wait")
    assert done.returncode == 1 and "what is missing is in r-1/errors.csv" in done.stderr
    make_vault(emulator, id="s-2", ending="FAILED", error="no room")
    other = [word.replace("s-1", "s-2") for word in RESTORE]
    assert backup(emulator, *other).returncode == 0
    emulator.advance(SPAN)
    done = backup(emulator, "jobs", "--vault", "v-1", "r-2", "--wait")
    assert done.returncode == 1 and "job r-2 ended as FAILED: no room" in done.stderr


def test_backup_restore_takes_other_targets_and_accounts_as_parameters(emulator):
    make_vault(emulator)
    emulator.backup("v-1", {"id": "s-f", "type": "ECS_FILE", "files": FILES}, {"id": "s-n", "type": "NAS"})
    account = ("--cross-account-user-id", "158975", "--cross-account-role-name", "BackupRole")
    for snapshot, target in [("s-f", ("ecs://i-1/data",)), ("s-n", ("nas://005494", "--create-time", "1554347313"))]:
        done = backup(emulator, "restore", "--vault", "v-1", "--snapshot", snapshot, "--to", *target, *account)
        assert done.returncode == 0, done.stderr
    found = [backup_json(emulator, "jobs", "--type", kind)["jobs"] for kind in ("ECS_FILE", "NAS")]
    assert [job["to"] for [job] in found] == ["ecs://i-1/data", "nas://005494"]
    for wrong in (("--to", "s3://bkt"), ("--to", "nas://005494"), ("--to", "oss://bkt", *account[:2]),
                  ("--to", "oss://bkt", "--wait=soon")):
        done = backup(emulator, "restore", "--vault", "v-1", "--snapshot", "s-1", *wrong)
        assert done.returncode == 64 and created(emulator) == 2, wrong


def test_credentials_of_cloud_backup_are_in_no_message(emulator, tmp_path):
    make_vault(emulator)
    for fault in ({"status": 403, "code": "NoPermission"}, {"expired_token": True}):
        emulator.fault(fault, op="DescribeVaults", times=9)
        done = backup(emulator, "vaults")
        assert done.returncode == 1 and emulator.SECRET_KEY not in done.stdout + done.stderr
        emulator.clear_faults()
