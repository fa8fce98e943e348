"""What only IBM Cloud Object Storage has: tokens, archives that no listing tells, retention and legal holds."""

import errno
import os
import subprocess

import pytest

from support.archive import (
    ARCHIVES, attribute, count, counts, put, restore_header, restored_keys, restores, set_attribute, thaw)
from support.cos import INSTANCE, cos_client
from support.mount import Mount, wait_until
from support.reader import Reader, read, run


@pytest.fixture
def with_token(emulator, tmp_path):
    """Makes a Mount that has an API key and no HMAC key."""
    def make(source="cos://bkt", **env):
        mount = Mount(emulator, source, tmp_path, {"log_level": "debug"}, {
            "IBM_API_KEY_ID": emulator.SECRET_KEY, "IBM_SERVICE_INSTANCE_ID": INSTANCE,
            "IBM_AUTH_ENDPOINT": f"{emulator.url}/identity/token"} | env)
        del mount.env["AWS_ACCESS_KEY_ID"], mount.env["AWS_SECRET_ACCESS_KEY"]
        return mount
    return make


def test_one_token_serves_a_mount_and_is_nowhere_to_be_read(emulator, with_token):
    with with_token() as mount:
        for number in range(3):
            (mount.path / f"f{number}").write_bytes(b"content")
            assert (mount.path / f"f{number}").read_bytes() == b"content"
        assert count(emulator, "IssueToken") == 1
        shown = mount.log() + run("cat", f"/proc/{mount.pid()}/cmdline").stdout
        assert "Bearer" not in shown and "eyJ" not in shown and emulator.SECRET_KEY not in shown
    assert {line["dialect"] for line in emulator.requests()["requests"]} == {"cos"}


def test_a_token_is_renewed_before_it_ends(emulator, with_token):
    emulator.control("POST", "tokens", {"life": "12s"})
    with with_token() as mount:
        (mount.path / "f").write_bytes(b"content")

        def is_renewed():
            assert attribute(mount.path / "f", "legal_holds") == "0"
            return count(emulator, "IssueToken") > 2
        # Asked of the store each time.
        cos_client(emulator).put_object(Bucket="bkt", Key="f", Body=b"content", RetentionPeriod=0)
        wait_until(is_renewed, "two renewals", 60)
        assert all(line["status"] != 403 for line in emulator.requests()["requests"])


def test_an_api_key_that_iam_does_not_know_is_named(with_token):
    done = with_token(IBM_API_KEY_ID="another-key").mount()
    assert done.returncode == 1
    assert "BXNIM0415E" in done.stderr and "another-key" not in done.stderr


def test_the_buckets_of_an_instance_are_listed_and_made(emulator, with_token):
    with with_token("cos://") as mount:
        assert os.listdir(mount.path) == ["bkt"]
        (mount.path / "made").mkdir()
        (mount.path / "made/f").write_bytes(b"content")
        assert cos_client(emulator).get_object(Bucket="made", Key="f")["Body"].read() == b"content"


def test_looking_at_a_directory_asks_nothing_of_its_files(emulator, tmp_path):
    emulator.seed("bkt", count=50, size=10000, storage_class="GLACIER")
    with Mount(emulator, "cos://bkt", tmp_path, {"on_frozen": "eagain"}) as mount:
        names = sorted(os.listdir(mount.path))
        assert len(names) == 50
        assert run("ls", "-lR", str(mount.path)).returncode == 0
        assert count(emulator, "HeadObject") == 0
        assert attribute(mount.path / names[0], "restore_status") == "frozen"
        assert attribute(mount.path / names[0], "storage_class") == "GLACIER"
        assert count(emulator, "HeadObject", names[0]) == 1
        with pytest.raises(OSError) as caught:
            open(mount.path / names[1], "rb")
        assert caught.value.errno == errno.EAGAIN
        asked = {line["key"] for line in emulator.requests()["requests"] if line["op"] in ("HeadObject", "GetObject")}
        assert asked <= set(names[:2])


def test_a_reader_waits_for_what_no_listing_shows_to_be_frozen(emulator, tmp_path):
    archive = ARCHIVES["cos"]
    put(emulator, "f", b"content", archive.quick)
    with archive.mount(emulator, tmp_path) as mount:
        assert run("ls", "-l", str(mount.path)).returncode == 0
        with Reader(mount.path / "f") as reader:
            reader.wait_until_blocked()
            thaw(emulator, "f", archive.quick_span, mount.path / "f")
            assert reader.result()[0] == "ok"
        assert attribute(mount.path / "f", "restore_status") == "restored"
        assert read(mount.path / "f")[0] == "ok"
        assert restores(emulator) == 1


def test_a_directory_is_restored_with_the_tier_of_each_class(emulator, tmp_path):
    for storage_class in ("GLACIER", "ACCELERATED", "STANDARD"):
        for number in range(3):
            put(emulator, f"d/{storage_class}{number}", b"content", storage_class)
    with Mount(emulator, "cos://bkt", tmp_path) as mount:
        assert set_attribute(mount.path / "d/GLACIER0", "restore", "tier=Standard") == os.strerror(errno.EINVAL)
        assert set_attribute(mount.path / "d/STANDARD0", "restore") == os.strerror(errno.EOPNOTSUPP)
        assert counts(mount.path / "d")["frozen"] == 6
        assert set_attribute(mount.path / "d", "restore", "days=2,tier=Bulk") is None
        wait_until(lambda: counts(mount.path / "d")["restoring"] == 6, "six to be restoring", 60)
        assert restored_keys(emulator) == sorted(f"d/{name}{i}" for name in ("GLACIER", "ACCELERATED") for i in range(3))
        emulator.advance("2h")
        assert "false" in restore_header(emulator, "d/ACCELERATED0") and "true" in restore_header(emulator, "d/GLACIER0")


def test_what_retention_keeps_cannot_be_removed_and_the_log_says_why(emulator, tmp_path):
    client = cos_client(emulator)
    client.put_object(Bucket="bkt", Key="kept", Body=b"content", RetentionPeriod=86400)
    client.put_object(Bucket="bkt", Key="held", Body=b"content", RetentionPeriod=0, RetentionLegalHoldId="case-1")
    client.put_object(Bucket="bkt", Key="free", Body=b"content")
    with Mount(emulator, "cos://bkt", tmp_path) as mount:
        assert attribute(mount.path / "kept", "retention_expiry").startswith("20")
        assert attribute(mount.path / "kept", "legal_holds") == "0"
        assert attribute(mount.path / "held", "legal_holds") == "1"
        assert attribute(mount.path / "free", "retention_expiry") is None
        for name in ("kept", "held"):
            with pytest.raises(PermissionError) as caught:
                (mount.path / name).unlink()
            assert caught.value.errno == errno.EPERM
            with pytest.raises(PermissionError) as caught:
                (mount.path / name).write_bytes(b"other")
            assert caught.value.errno == errno.EPERM
            assert f"{name}" in mount.log() and "The object is protected: retention" in mount.log()
            assert client.get_object(Bucket="bkt", Key=name)["Body"].read() == b"content"
        (mount.path / "free").unlink()


def test_no_class_is_given_to_an_object(emulator, tmp_path):
    mount = Mount(emulator, "cos://bkt", tmp_path, {"storage_class": "GLACIER"})
    done = mount.mount()
    assert done.returncode != 0 and "lifecycle" in done.stderr
    del mount.options["storage_class"]
    with mount:
        (mount.path / "f").write_bytes(b"content")
        assert set_attribute(mount.path / "f", "transition", "GLACIER") == os.strerror(errno.EOPNOTSUPP)
        assert "lifecycle rules" in mount.log()
        subprocess.run(["mv", str(mount.path / "f"), str(mount.path / "g")], check=True, timeout=60)
        assert (mount.path / "g").read_bytes() == b"content"
