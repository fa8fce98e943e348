"""A running moto_server, with the bucket `bkt`.

    with Moto(tmp_path / "moto.log") as moto:
        moto.put("a", b"content", "GLACIER")
"""

import json
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import boto3
from botocore.config import Config

from .waiting import wait_until

STOP_SECONDS = 10


class Moto:
    # What a mount of it needs besides its endpoint.
    OPTIONS = {"region": "us-east-1", "path_style": None}

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

    def put(self, key, content, storage_class="STANDARD"):
        self.client.put_object(Bucket="bkt", Key=key, Body=content, StorageClass=storage_class)

    def requests(self, text):
        """How many lines of moto's log have this text."""
        self.log.flush()
        with open(self.log.name) as lines:
            return sum(text in line for line in lines)
