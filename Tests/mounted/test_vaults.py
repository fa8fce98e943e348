"""A vault of OAS as a directory: retrieval jobs, writing, names that the catalogue alone has, inventories, the
account's root, and `thawfs vault`. How frozen archives are read is with the other stores, in `test_frozen_reads`.

The suites of other stores run over `oas` too, but for what needs what vaults do not have, as each such test says:
versions, classes and transitions, days and tiers, keys of any length, objects that somebody else changes under the
mount, and content that can be read back once it is written.
"""

import json
import mmap
import os
import pathlib
import random
import shutil
import subprocess

import pytest

from support.archive import attribute, count, set_attribute, thaw
from support.emulator import thawfs_binary
from support.mount import Mount, wait_until
from support.reader import Reader, run, sha256
from support.vaulted import Vault, described

CONTENT = os.urandom(2_500_000)
READ_BACK = ("ok", sha256(CONTENT))
SPAN = "4h"


@pytest.fixture
def vault(emulator, tmp_path):
    emulator.vault = Vault(emulator, tmp_path)
    return emulator.vault


def vault_command(vault, *arguments):
    mount = vault.mount()
    options = ",".join(f"{name}={value}" for name, value in mount.options.items())
    return subprocess.run([thawfs_binary(), "vault", *arguments, "-o", options], env=mount.env, capture_output=True,
                          text=True, timeout=60, stdin=subprocess.DEVNULL)


def test_archives_are_files_and_looking_at_them_starts_no_job(vault, emulator):
    vault.put("dir/with blank/f", CONTENT)
    vault.put("日本語.txt", b"text")
    with vault.mount() as mount:
        found = run("find", mount.path, "-type", "f", "-printf", "%P %s\n").stdout.splitlines()
        assert sorted(found) == [f"dir/with blank/f {len(CONTENT)}", "日本語.txt 4"]
        file = mount.path / "dir/with blank/f"
        assert attribute(file, "restore_status") == "frozen"
        assert attribute(file, "storage_class") == "Archive"
        assert run("getfattr", "-R", "-d", mount.path).returncode == 0
        assert count(emulator, "CreateJob") == 0


def test_a_restored_archive_is_read_in_any_order(vault, emulator):
    vault.put("f", CONTENT, state="restored")
    with vault.mount() as mount, open(mount.path / "f", "rb", buffering=0) as file:
        order = random.Random(1)
        for _ in range(50):
            offset, size = order.randrange(len(CONTENT)), order.randrange(1, 200_000)
            assert os.pread(file.fileno(), size, offset) == CONTENT[offset:offset + size]
        with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
            assert mapped[-1000:] == CONTENT[-1000:] and mapped[:] == CONTENT
        assert subprocess.check_output(["tail", "-c", "7", mount.path / "f"], timeout=60) == CONTENT[-7:]
        assert count(emulator, "CreateJob") == 0


def test_a_retrieval_outlives_the_daemon_and_is_not_asked_for_twice(vault, emulator):
    vault.put("d/f", CONTENT)
    mount = vault.mount(restore_wait="forever")
    with mount, Reader(mount.path / "d/f") as reader:
        reader.wait_until_blocked()
        wait_until(lambda: "restore of d/f started" in mount.log(), "the store's answer", 60)
        mount.kill()
        assert reader.result(15) in {("read", "ENOTCONN"), ("read", "ECONNABORTED")}
    with mount, Reader(mount.path / "d/f") as reader:
        reader.wait_until_blocked()
        thaw(emulator, "d/f", SPAN)
        assert reader.result() == READ_BACK
    assert count(emulator, "CreateJob") == 1


def test_a_directory_is_restored_by_one_wish_and_a_job_for_each_archive(vault, emulator):
    for number in range(5):
        vault.put(f"d/{number}", b"content %d" % number)
    with vault.mount() as mount:
        assert set_attribute(mount.path / "d", "restore") is None
        wait_until(lambda: vault.retrievals() == 5, "five jobs", 60)
        wait_until(lambda: "restoring=5" in attribute(mount.path / "d", "restore"), "all to be under way", 60)
        emulator.advance(SPAN)
        assert set_attribute(mount.path / "d/0", "refresh") is None
        wait_until(lambda: "restored=5" in attribute(mount.path / "d", "restore"), "all to be restored", 60)
        assert [(mount.path / f"d/{number}").read_bytes() for number in range(5)] \
            == [b"content %d" % number for number in range(5)]


def test_what_is_written_is_an_archive_with_its_path_in_the_description(vault):
    with vault.mount() as mount:
        (mount.path / "dir/sub").mkdir(parents=True)
        (mount.path / "dir/sub/größe.txt").write_bytes(CONTENT)
        (mount.path / "empty").touch()
        (mount.path / "link").symlink_to("dir/sub")
        os.chmod(mount.path / "dir/sub/größe.txt", 0o640)
        os.utime(mount.path / "dir/sub/größe.txt", (1_600_000_000, 1_600_000_000))
        assert vault.listed() == [(described("dir/sub/größe.txt"), len(CONTENT))]
        assert vault.content(described("dir/sub/größe.txt")) == CONTENT
    with vault.mount() as mount:
        status = os.stat(mount.path / "dir/sub/größe.txt")
        assert (status.st_mode & 0o777, status.st_mtime, status.st_size) == (0o640, 1_600_000_000, len(CONTENT))
        assert (mount.path / "empty").read_bytes() == b""
        assert os.readlink(mount.path / "link") == "dir/sub"


def test_overwriting_and_deleting_leave_no_archive_behind(vault, emulator):
    with vault.mount() as mount:
        (mount.path / "f").write_bytes(b"one")
        (mount.path / "f").write_bytes(b"another")
        (mount.path / "d").mkdir()
        (mount.path / "d/g").write_bytes(b"g")
        assert vault.listed() == [(described("d/g"), 1), (described("f"), 7)]
        shutil.rmtree(mount.path / "d")
        (mount.path / "f").unlink()
        assert vault.listed() == []
        assert os.listdir(mount.path) == []
        assert count(emulator, "CreateJob") == 0


def test_a_frozen_file_and_a_directory_are_renamed_in_the_catalogue(vault, emulator):
    vault.put("d/f", CONTENT)
    vault.put("d/sub/g", b"g")
    with vault.mount() as mount:
        os.rename(mount.path / "d", mount.path / "e")
        os.rename(mount.path / "e/f", mount.path / "f")
        os.chmod(mount.path / "f", 0o600)
        assert count(emulator, "UploadArchive") == 2
        assert vault.listed() == [(described("d/f"), len(CONTENT)), (described("d/sub/g"), 1)]
        assert mount.log().count("the new name is in the catalogue only") == 1
    with vault.mount() as mount:
        found = run("find", mount.path, "-type", "f", "-printf", "%P %m\n").stdout.splitlines()
        assert sorted(found) == ["e/sub/g 644", "f 600"]


def test_a_path_too_long_for_a_description_is_refused(vault, emulator):
    with vault.mount() as mount:
        with pytest.raises(OSError, match="File name too long"):
            (mount.path / ("p" * 121)).write_bytes(b"x")
        assert "is too long a path for a vault" in mount.log()
        (mount.path / ("p" * 120)).write_bytes(b"x")
        assert count(emulator, "UploadArchive") == 1


def test_a_refresh_takes_in_what_others_did_by_one_inventory(vault, emulator):
    with vault.mount(metadata_ttl="forever") as mount:
        (mount.path / "ours").write_bytes(b"ours")
        assert os.listdir(mount.path) == ["ours"]
        vault.oas.upload(vault.id, b"theirs", described("theirs"))
        for _ in range(2):
            assert set_attribute(mount.path, "refresh") is None
        (mount.path / "later").write_bytes(b"later")
        assert count(emulator, "CreateJob") == 1
        mount.kill()
    with vault.mount(metadata_ttl="forever") as mount:
        emulator.advance(SPAN)
        wait_until(lambda: set(os.listdir(mount.path)) == {"ours", "theirs", "later"}, "the inventory", 60)
        assert count(emulator, "CreateJob") == 1
        assert "1 new here, 0 gone" in mount.log()


def test_a_lost_catalogue_is_rebuilt_from_an_inventory(vault, emulator):
    with vault.mount() as mount:
        (mount.path / "d").mkdir()
        (mount.path / "d/f").write_bytes(CONTENT)
    # The provider counts what is in a vault once a day.
    emulator.advance("25h")
    [catalogue] = mount.state.glob("*/catalogue.sqlite")
    for file in mount.state.glob("*/*.sqlite*"):
        file.unlink()
    assert not catalogue.exists()
    with vault.mount() as mount:
        assert os.listdir(mount.path) == []
        assert "is expected by" in mount.log()
        emulator.advance(SPAN)
        wait_until(lambda: run("find", mount.path, "-type", "f", "-printf", "%P %s\n").stdout
                   == f"d/f {len(CONTENT)}\n", "the inventory", 90)


def test_the_root_of_an_account_lists_its_vaults(vault, emulator, tmp_path):
    vault.put("f", b"content")
    with Mount(emulator, "oas://", tmp_path) as mount:
        assert os.listdir(mount.path) == ["bkt"]
        assert os.listdir(mount.path / "bkt") == ["f"]
        (mount.path / "another").mkdir()
        (mount.path / "another/g").write_bytes(b"content")
        assert sorted(found["VaultName"] for found in vault.oas.vaults()["VaultList"]) == ["another", "bkt"]
        for call, path in ((os.rmdir, "another"), (os.rmdir, "bkt")):
            with pytest.raises(OSError, match="not empty"):
                call(mount.path / path)
        (mount.path / "another/g").unlink()
        (mount.path / "another").rmdir()
        assert [found["VaultName"] for found in vault.oas.vaults()["VaultList"]] == ["bkt"]
        with pytest.raises(OSError, match="not supported"):
            (mount.path / "file").write_bytes(b"x")


def test_a_vault_that_does_not_exist_is_named(emulator, tmp_path):
    done = Mount(emulator, "oas://missing", tmp_path).mount()
    assert done.returncode != 0
    assert "no such bucket: oas://missing" in done.stderr and "VaultNotExists" in done.stderr


def test_archives_move_to_and_from_oss_by_command(vault, emulator):
    with vault.mount() as mount:
        (mount.path / "dir").mkdir()
        (mount.path / "dir/f").write_bytes(CONTENT)
        started = vault_command(vault, "push-to-oss", "bkt/dir/f", "oss://bkt/copy", "--json")
        assert started.returncode == 0, started.stderr
        assert json.loads(started.stdout)["job"]["state"] == "InProgress"
        again = vault_command(vault, "push-to-oss", "bkt/dir/f", "oss://bkt/copy", "--json")
        assert json.loads(again.stdout) == json.loads(started.stdout)
        emulator.advance(SPAN)
        done = vault_command(vault, "push-to-oss", "bkt/dir/f", "oss://bkt/again", "--wait=1s", "--json")
        assert done.returncode == 124, done.stderr
        pulled = vault_command(vault, "pull-from-oss", "bkt", "oss://bkt/copy", "--as", "pulled/f", "--json")
        assert pulled.returncode == 0, pulled.stderr
        emulator.advance("1h")
        jobs = json.loads(vault_command(vault, "jobs", "bkt", "--json").stdout)["jobs"]
        assert {(job["action"], job["state"]) for job in jobs} >= {
            ("PushToOSS", "Succeeded"), ("PullFromOSS", "Succeeded")}
        assert set_attribute(mount.path, "refresh") is None
        wait_until(lambda: (mount.path / "pulled/f").exists(), "the archive that was pulled", 60)
        assert vault.content(described("pulled/f")) == CONTENT
    assert count(emulator, "CreateJob") == 4
    missing = vault_command(vault, "push-to-oss", "bkt/none", "oss://bkt/x")
    assert missing.returncode != 0 and "no catalogue" in missing.stderr
    assert pathlib.Path(mount.path).exists()
