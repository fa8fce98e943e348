"""thawfs mounts a bucket of moto, an S3 store that is nobody's of ours, and thaws its objects.

Moto restores in steps: with `manual` progression each request that looks at the object is one step.
"""

import json
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import boto3
import pytest
from botocore.config import Config

from support.archive import attribute, set_attribute
from support.mount import Mount, wait_until
from support.reader import Reader, read, run, sha256

CONTENT = bytes(range(256)) * 1000
READ_BACK = ("ok", sha256(CONTENT))
STOP_SECONDS = 10


class Moto:
    """A running moto_server, with the bucket `bkt`."""

    def __init__(self, log):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.log = open(log, "wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def __enter__(self):
        try:
            wait_until(self.is_answering, "moto to answer", 60)
            self.client = boto3.client(
                "s3", endpoint_url=self.url, region_name="us-east-1", aws_access_key_id="thawfs",
                aws_secret_access_key="thawfs-secret", config=Config(s3={"addressing_style": "path"}))
            self.client.create_bucket(Bucket="bkt")
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.process.kill()
        self.process.wait(STOP_SECONDS)
        self.log.close()

    def is_answering(self):
        assert self.process.poll() is None, "moto ended before it was ready"
        try:
            with urllib.request.urlopen(f"{self.url}/moto-api/state-manager/get-transition?model_name=s3::keyrestore",
                                        timeout=5):
                return True
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def restore_in_steps(self, times):
        """A restore is under way until it has been looked at so often."""
        body = {"model_name": "s3::keyrestore", "transition": {"progression": "manual", "times": times}}
        request = urllib.request.Request(
            f"{self.url}/moto-api/state-manager/set-transition", json.dumps(body).encode(),
            {"Content-Type": "application/json"}, method="POST")
        with urllib.request.urlopen(request, timeout=10) as reply:
            assert reply.status == 201

    def put(self, key, storage_class="STANDARD"):
        self.client.put_object(Bucket="bkt", Key=key, Body=CONTENT, StorageClass=storage_class)

    def requests(self, text):
        """How many lines of moto's log have this text."""
        self.log.flush()
        with open(self.log.name) as lines:
            return sum(text in line for line in lines)


@pytest.fixture
def moto(tmp_path):
    with Moto(tmp_path / "moto.log") as running:
        yield running


def mounted(moto, directory, **options):
    return Mount(None, "s3://bkt", directory, {
        "endpoint": moto.url, "region": "us-east-1", "path_style": None, "restore_tier": "Expedited"} | options)


def test_hot_objects_are_listed_and_read(moto, tmp_path):
    for key in ("a", "d/b", "d/e/c"):
        moto.put(key)
    with mounted(moto, tmp_path) as mount:
        found = run("find", mount.path, "-type", "f", "-printf", "%P %s\n").stdout.split("\n")
        assert sorted(found) == ["", "a 256000", "d/b 256000", "d/e/c 256000"]
        assert read(mount.path / "d/e/c") == READ_BACK


@pytest.mark.parametrize("steps", [1, 3])
def test_a_frozen_object_thaws_under_its_reader(moto, tmp_path, steps):
    moto.restore_in_steps(steps)
    moto.put("f", "GLACIER")
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
    moto.put("f", "DEEP_ARCHIVE")
    with mounted(moto, tmp_path, restore_tier="Bulk") as mount:
        assert read(mount.path / "f") == ("open", "EAGAIN")
        wait_until(lambda: read(mount.path / "f") == READ_BACK, "the file to open", 60)
        assert moto.requests("POST /bkt/f?restore") == 1


def test_a_restore_by_name_is_taken(moto, tmp_path):
    moto.restore_in_steps(2)
    moto.put("f", "GLACIER")
    with mounted(moto, tmp_path, on_frozen="refuse") as mount:
        assert read(mount.path / "f") == ("open", "EREMOTE")
        assert set_attribute(mount.path / "f", "restore", "days=3,tier=Bulk") is None
        def is_restored():
            set_attribute(mount.path / "f", "refresh")
            return attribute(mount.path / "f", "restore_status") == "restored"
        wait_until(is_restored, "the restore", 60)
        assert read(mount.path / "f") == READ_BACK


def test_a_standard_object_needs_no_restore(moto, tmp_path):
    moto.put("f")
    with mounted(moto, tmp_path) as mount:
        assert set_attribute(mount.path / "f", "restore") == "Operation not supported"
        assert moto.requests("?restore") == 0
