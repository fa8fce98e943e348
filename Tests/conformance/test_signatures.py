"""Every signature is verified, and refused in the provider's words."""

import socket
import urllib.error
import urllib.request

import alibabacloud_oss_v2 as oss
import botocore.exceptions
import oss2
import pytest

from clients import OSS_REGION, oss2_bucket, oss_v2_client, s3_client, s3_error
from support.emulator import Emulator

TOKEN = "STSTOKEN"
AWKWARD_KEY = "dir/a b+中&=?#.txt"


@pytest.fixture
def sts_emulator():
    with Emulator(buckets=["bkt"], arguments=["--session-token", TOKEN]) as running:
        yield running


def http_get(url, headers=None):
    request = urllib.request.Request(url, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=20) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@pytest.mark.parametrize("version", [1, 4])
def test_oss2_signs_as_the_emulator_verifies(emulator, version):
    bucket = oss2_bucket(emulator, version=version)
    bucket.put_object(AWKWARD_KEY, b"content", headers={"x-oss-meta-author": "alice", "Content-Type": "text/plain"})
    assert bucket.get_object(AWKWARD_KEY).read() == b"content"
    assert bucket.head_object(AWKWARD_KEY).headers["x-oss-meta-author"] == "alice"
    assert [entry.key for entry in bucket.list_objects_v2(prefix="dir/a b+").object_list] == [AWKWARD_KEY]


def test_oss_v2_signs_as_the_emulator_verifies(emulator):
    client = oss_v2_client(emulator)
    client.put_object(oss.PutObjectRequest(bucket="bkt", key=AWKWARD_KEY, body=b"content"))
    assert client.get_object(oss.GetObjectRequest(bucket="bkt", key=AWKWARD_KEY)).body.read() == b"content"


def test_boto3_signs_as_the_emulator_verifies(emulator):
    client = s3_client(emulator)
    client.put_object(Bucket="bkt", Key=AWKWARD_KEY, Body=b"content", Metadata={"author": "alice"})
    reply = client.get_object(Bucket="bkt", Key=AWKWARD_KEY)
    assert reply["Body"].read() == b"content"
    assert reply["Metadata"] == {"author": "alice"}


def test_boto3_reaches_a_bucket_by_its_host_name(emulator, monkeypatch):
    # Not every resolver knows the names below localhost.
    resolve = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo",
        lambda host, *rest, **options: resolve("127.0.0.1" if host.endswith("localhost") else host, *rest, **options))
    endpoint = f"http://localhost:{emulator.port}"
    client = s3_client(emulator, endpoint=endpoint, style="virtual")
    client.put_object(Bucket="bkt", Key=AWKWARD_KEY, Body=b"content")
    assert s3_client(emulator).get_object(Bucket="bkt", Key=AWKWARD_KEY)["Body"].read() == b"content"


@pytest.mark.parametrize("version", [1, 4])
def test_oss2_with_an_sts_token(sts_emulator, version):
    bucket = oss2_bucket(sts_emulator, version=version, token=TOKEN)
    bucket.put_object("k", b"content")
    assert bucket.get_object("k").read() == b"content"
    with pytest.raises(oss2.exceptions.ServerError) as caught:
        oss2_bucket(sts_emulator, version=version, token="another").get_object("k")
    assert (caught.value.status, caught.value.code) == (403, "InvalidSecurityToken")


def test_oss_v2_with_an_sts_token(sts_emulator):
    client = oss_v2_client(sts_emulator, token=TOKEN)
    client.put_object(oss.PutObjectRequest(bucket="bkt", key="k", body=b"content"))
    assert client.head_object(oss.HeadObjectRequest(bucket="bkt", key="k")).content_length == 7


def test_boto3_with_a_session_token(sts_emulator):
    client = s3_client(sts_emulator, token=TOKEN)
    client.put_object(Bucket="bkt", Key="k", Body=b"content")
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        s3_client(sts_emulator, token="another").get_object(Bucket="bkt", Key="k")
    assert s3_error(caught) == (400, "InvalidToken")


@pytest.mark.parametrize("version", [1, 4])
def test_oss2_presigned_urls(emulator, version):
    bucket = oss2_bucket(emulator, version=version)
    bucket.put_object(AWKWARD_KEY, b"content")
    url = bucket.sign_url("GET", AWKWARD_KEY, 60, slash_safe=True)
    assert http_get(url) == (200, b"content")
    status, body = http_get(url.replace("Signature=", "Signature=x").replace("x-oss-signature=", "x-oss-signature=0"))
    assert status == 403 and b"SignatureDoesNotMatch" in body
    emulator.fault({"clock_skew": 3600})
    status, body = http_get(url)
    assert status == 403 and b"Request has expired" in body


@pytest.mark.parametrize("version", [1, 4])
def test_oss2_presigned_urls_with_a_token(sts_emulator, version):
    bucket = oss2_bucket(sts_emulator, version=version, token=TOKEN)
    bucket.put_object("k", b"content")
    assert http_get(bucket.sign_url("GET", "k", 60)) == (200, b"content")


def test_oss_v2_presigned_urls(emulator):
    client = oss_v2_client(emulator)
    client.put_object(oss.PutObjectRequest(bucket="bkt", key=AWKWARD_KEY, body=b"content"))
    presigned = client.presign(oss.GetObjectRequest(bucket="bkt", key=AWKWARD_KEY))
    assert http_get(presigned.url, presigned.signed_headers) == (200, b"content")


def test_boto3_presigned_urls(emulator):
    client = s3_client(emulator)
    client.put_object(Bucket="bkt", Key=AWKWARD_KEY, Body=b"content")
    url = client.generate_presigned_url("get_object", Params={"Bucket": "bkt", "Key": AWKWARD_KEY}, ExpiresIn=60)
    assert "X-Amz-Signature" in url
    assert http_get(url) == (200, b"content")
    assert http_get(url + "0")[0] == 403
    emulator.fault({"clock_skew": 3600})
    status, body = http_get(url)
    assert status == 403 and b"Request has expired" in body


@pytest.mark.parametrize("version", [1, 4])
def test_a_wrong_oss_secret(emulator, version):
    with pytest.raises(oss2.exceptions.ServerError) as caught:
        oss2_bucket(emulator, version=version, secret="wrong").get_object("k")
    assert (caught.value.status, caught.value.code) == (403, "SignatureDoesNotMatch")
    assert caught.value.details["StringToSign"].startswith("GET\n" if version == 1 else "OSS4-HMAC-SHA256\n")


def test_a_wrong_s3_secret(emulator):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        s3_client(emulator, secret="wrong").get_object(Bucket="bkt", Key="k")
    assert s3_error(caught) == (403, "SignatureDoesNotMatch")
    assert caught.value.response["Error"]["StringToSign"].startswith("AWS4-HMAC-SHA256\n")


def test_an_unknown_access_key(emulator):
    with pytest.raises(botocore.exceptions.ClientError) as s3_caught:
        s3_client(emulator, key="nobody").get_object(Bucket="bkt", Key="k")
    assert s3_error(s3_caught) == (403, "InvalidAccessKeyId")
    with pytest.raises(oss2.exceptions.ServerError) as oss_caught:
        oss2_bucket(emulator, key="nobody").get_object("k")
    assert (oss_caught.value.status, oss_caught.value.code) == (403, "InvalidAccessKeyId")


def test_anonymous_requests_are_denied(emulator):
    status, body = http_get(f"{emulator.url}/bkt/k")
    assert status == 403 and b"<Code>AccessDenied</Code>" in body


@pytest.mark.parametrize("skew", [-1000, 1000])
def test_clocks_too_far_apart(emulator, skew):
    emulator.fault({"clock_skew": skew})
    with pytest.raises(botocore.exceptions.ClientError) as s3_caught:
        s3_client(emulator).get_object(Bucket="bkt", Key="k")
    assert s3_error(s3_caught) == (403, "RequestTimeTooSkewed")
    for version in (1, 4):
        with pytest.raises(oss2.exceptions.ServerError) as oss_caught:
            oss2_bucket(emulator, version=version).get_object("k")
        assert (oss_caught.value.status, oss_caught.value.code) == (403, "RequestTimeTooSkewed")


def test_a_skew_of_a_few_minutes_is_taken(emulator):
    emulator.fault({"clock_skew": 600})
    oss2_bucket(emulator).put_object("k", b"content")
    assert s3_client(emulator).get_object(Bucket="bkt", Key="k")["Body"].read() == b"content"


def test_an_expired_token(emulator):
    emulator.fault({"expired_token": True})
    with pytest.raises(botocore.exceptions.ClientError) as s3_caught:
        s3_client(emulator).get_object(Bucket="bkt", Key="k")
    assert s3_error(s3_caught) == (400, "ExpiredToken")
    with pytest.raises(oss2.exceptions.ServerError) as oss_caught:
        oss2_bucket(emulator).get_object("k")
    assert (oss_caught.value.status, oss_caught.value.code) == (403, "SecurityTokenExpired")


def test_a_signature_for_another_region():
    with Emulator(buckets=["bkt"], arguments=["--region", OSS_REGION]) as running:
        oss2_bucket(running).put_object("k", b"content")
        # boto3 reads the region in the refusal and signs again.
        s3_client(running).list_objects_v2(Bucket="bkt")
        assert [line["status"] for line in running.requests()["requests"] if line["dialect"] == "s3"] == [400, 200]


def test_lenient_takes_everything():
    with Emulator(buckets=["bkt"], arguments=["--lenient"]) as running:
        s3_client(running, secret="wrong").put_object(Bucket="bkt", Key="k", Body=b"content")
        assert http_get(f"{running.url}/bkt/k") == (200, b"content")
