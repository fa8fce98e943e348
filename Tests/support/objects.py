"""Objects put into an emulator's bucket under any key, also one that no SDK would send.

    objects = Objects(emulator)
    etag = objects.put("a//b", b"content")
    objects.delete(b"\\xff")
"""

import http.client
import random
import urllib.parse

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from .vaulted import DESCRIPTION_MAX, described

SECONDS = 60


def content(size, seed=0):
    """Bytes that repeat nowhere, the same for the same seed."""
    return random.Random(seed).randbytes(size)


class Objects:
    def __init__(self, emulator, bucket="bkt"):
        self.emulator = emulator
        self.bucket = bucket
        self.connection = None

    def can_put(self, key, body):
        """A vault takes neither what is empty nor what has too long a path."""
        return not hasattr(self.emulator, "vault") or body != b"" and len(described(key)) <= DESCRIPTION_MAX

    def put(self, key, body=b"", **headers):
        """Answers the ETag, with its quotes. `headers`: `x_amz_storage_class="GLACIER"`.

        In a vault it is an archive that is restored; a mount sees it if it comes later.
        """
        if hasattr(self.emulator, "vault"):
            return self.emulator.vault.put(key, body, "restored")
        return self._send("PUT", key, body, {name.replace("_", "-"): value for name, value in headers.items()})

    def delete(self, key):
        self._send("DELETE", key)

    def _send(self, method, key, body=b"", headers=None):
        key = key.encode() if isinstance(key, str) else key
        path = f"/{self.bucket}/" + urllib.parse.quote(key, safe="/")
        request = AWSRequest(method=method, url=self.emulator.url + path, data=body, headers=headers or {})
        credentials = Credentials(self.emulator.ACCESS_KEY, self.emulator.SECRET_KEY)
        S3SigV4Auth(credentials, "s3", "us-east-1").add_auth(request)
        if self.connection is None or self.connection.port != self.emulator.port:
            self.connection = http.client.HTTPConnection("127.0.0.1", self.emulator.port, timeout=SECONDS)
        self.connection.request(method, path, body=body, headers=dict(request.headers.items()))
        reply = self.connection.getresponse()
        text = reply.read()
        assert reply.status in (200, 204), f"{method} {key}: {reply.status} {text.decode()}"
        return reply.getheader("ETag")
