"""A mount of all buckets of an account: `oss://`, `s3://` or `cos://` without a bucket."""

import errno
import os

import pytest

from support.archive import s3_client
from support.cos import INSTANCE
from support.emulator import Emulator
from support.mount import Mount, wait_until
from support.reader import run

pytestmark = pytest.mark.without("oas", why="an account's vaults are in test_vaults")


@pytest.fixture
def account():
    with Emulator(buckets=["one", "one-more", "two"]) as running:
        yield running


@pytest.fixture
def mount(dialect, account, tmp_path):
    # IBM's buckets are those of an instance.
    env = {"IBM_SERVICE_INSTANCE_ID": INSTANCE} if dialect == "cos" else {}
    with Mount(account, f"{dialect}://", tmp_path, options={"metadata_ttl": "0s"}, env=env) as running:
        yield running


def buckets(account):
    return sorted(bucket["Name"] for bucket in s3_client(account).list_buckets()["Buckets"])


def test_the_root_of_an_account_lists_its_buckets(account, mount):
    assert sorted(os.listdir(mount.path)) == ["one", "one-more", "two"]
    assert (mount.path / "one").is_dir()
    assert not (mount.path / "three").exists()
    s3_client(account).create_bucket(Bucket="three")
    wait_until(lambda: (mount.path / "three").is_dir(), "a new bucket to be seen")


def test_files_are_read_and_written_below_the_root_of_an_account(account, mount):
    s3_client(account).put_object(Bucket="two", Key="dir/file", Body=b"content")
    assert (mount.path / "two/dir/file").read_bytes() == b"content"
    (mount.path / "one/new").write_bytes(b"written")
    assert s3_client(account).get_object(Bucket="one", Key="new")["Body"].read() == b"written"
    os.rename(mount.path / "one/new", mount.path / "two/moved")
    assert s3_client(account).get_object(Bucket="two", Key="moved")["Body"].read() == b"written"
    assert not (mount.path / "one/new").exists()


def test_what_the_store_cannot_move_is_copied_by_mv(account, mount):
    s3_client(account).put_object(Bucket="one", Key="dir/file", Body=b"content")
    with pytest.raises(OSError) as caught:
        os.rename(mount.path / "one/dir", mount.path / "made")
    assert caught.value.errno == errno.EXDEV
    assert run("mv", mount.path / "one/dir", mount.path / "made").returncode == 0
    assert buckets(account) == ["made", "one", "one-more", "two"]
    assert s3_client(account).get_object(Bucket="made", Key="file")["Body"].read() == b"content"
    assert not (mount.path / "one/dir").exists()


@pytest.mark.parametrize("target", ["made", "two"])
def test_a_bucket_is_not_renamed(account, mount, target):
    s3_client(account).put_object(Bucket="one", Key="dir/file", Body=b"content")
    with pytest.raises(OSError) as caught:
        os.rename(mount.path / "one", mount.path / target)
    assert caught.value.errno == errno.EXDEV
    assert buckets(account) == ["one", "one-more", "two"]
    assert (mount.path / "one/dir/file").read_bytes() == b"content"


def test_mkdir_at_the_root_of_an_account_makes_a_bucket_and_rmdir_removes_it(account, mount):
    (mount.path / "made").mkdir()
    assert buckets(account) == ["made", "one", "one-more", "two"]
    with pytest.raises(FileExistsError):
        (mount.path / "made").mkdir()
    (mount.path / "made/f").write_bytes(b"x")
    (mount.path / "made/f").unlink()
    assert (mount.path / "made").is_dir()
    (mount.path / "made").rmdir()
    assert buckets(account) == ["one", "one-more", "two"]
    assert not (mount.path / "made").exists()


def test_a_bucket_that_is_not_empty_is_not_removed(account, mount):
    s3_client(account).put_object(Bucket="two", Key="f", Body=b"x")
    with pytest.raises(OSError) as caught:
        (mount.path / "two").rmdir()
    assert caught.value.errno == errno.ENOTEMPTY
    assert "two" in buckets(account)


def test_there_are_no_files_beside_buckets(account, mount):
    with pytest.raises(OSError) as caught:
        (mount.path / "file").write_bytes(b"x")
    assert caught.value.errno == errno.EOPNOTSUPP
    assert buckets(account) == ["one", "one-more", "two"]
