"""Multipart uploads, versions, https with aws-chunked bodies, and what a restart keeps."""

import base64
import hashlib
import io
import subprocess

import boto3.s3.transfer
import botocore.exceptions
import oss2
import pytest

from clients import oss2_bucket, s3_client, s3_error
from support.emulator import Emulator
from support.mount import wait_until

PART = 5 << 20


def content(size):
    block = hashlib.sha256(b"parts").digest()
    return (block * (size // len(block) + 1))[:size]


def oss_refused(call):
    with pytest.raises(oss2.exceptions.ServerError) as caught:
        call()
    return caught.value.status, caught.value.code


@pytest.fixture(params=["memory", "files"])
def store(request, tmp_path):
    with Emulator(data=tmp_path / "data" if request.param == "files" else None, buckets=["bkt"]) as running:
        yield running


def test_oss2_uploads_in_parts(store, tmp_path):
    body = content((1 << 20) + 333)
    path = tmp_path / "body"
    path.write_bytes(body)
    bucket = oss2_bucket(store)
    oss2.resumable_upload(
        bucket, "big", str(path), store=oss2.ResumableStore(root=str(tmp_path)), multipart_threshold=1,
        part_size=256 << 10, num_threads=2, headers={"x-oss-storage-class": "IA"})
    got = bucket.get_object("big")
    assert got.read() == body
    assert got.server_crc == got.client_crc
    head = bucket.head_object("big").headers
    assert (head["x-oss-object-type"], head["x-oss-storage-class"]) == ("Multipart", "IA")
    assert bucket.get_object("big", byte_range=(262140, 262150)).read() == body[262140:262151]


def test_boto3_uploads_in_parts(store):
    body = content(2 * PART + 333)
    client = s3_client(store)
    transfer = boto3.s3.transfer.TransferConfig(multipart_threshold=1, multipart_chunksize=PART)
    client.upload_fileobj(io.BytesIO(body), "bkt", "big", Config=transfer)
    reply = client.get_object(Bucket="bkt", Key="big")
    assert reply["Body"].read() == body
    digests = b"".join(hashlib.md5(body[start:start + PART]).digest() for start in range(0, len(body), PART))
    assert reply["ETag"] == f'"{hashlib.md5(digests).hexdigest()}-3"'


def test_parts_are_listed_copied_and_aborted(emulator):
    bucket = oss2_bucket(emulator)
    bucket.put_object("source", content(300_000))
    upload = bucket.init_multipart_upload("big").upload_id
    bucket.upload_part_copy("bkt", "source", (0, 149_999), "big", upload, 1)
    bucket.upload_part("big", upload, 3, b"tail")
    parts = bucket.list_parts("big", upload).parts
    assert [(part.part_number, part.size) for part in parts] == [(1, 150_000), (3, 4)]
    assert [entry.upload_id for entry in bucket.list_multipart_uploads().upload_list] == [upload]
    # oss2 sorts the parts itself.
    disordered = [{"PartNumber": part.part_number, "ETag": part.etag} for part in parts[::-1]]
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        s3_client(emulator).complete_multipart_upload(
            Bucket="bkt", Key="big", UploadId=upload, MultipartUpload={"Parts": disordered})
    assert s3_error(caught) == (400, "InvalidPartOrder")
    wrong = [oss2.models.PartInfo(1, "0" * 32)]
    assert oss_refused(lambda: bucket.complete_multipart_upload("big", upload, wrong)) == (400, "InvalidPart")
    bucket.complete_multipart_upload("big", upload, parts)
    assert bucket.get_object("big").read() == content(150_000) + b"tail"
    other = bucket.init_multipart_upload("other").upload_id
    bucket.abort_multipart_upload("other", other)
    assert oss_refused(lambda: bucket.list_parts("other", other)) == (404, "NoSuchUpload")
    assert bucket.list_multipart_uploads().upload_list == []


def crc64nvme(body):
    """In base64, as S3 has it; a bit at a time, from the polynomial's definition."""
    remainder = (1 << 64) - 1
    for byte in body:
        remainder ^= byte
        for _ in range(8):
            remainder = remainder >> 1 ^ (0x9A6C9329AC4BC9B5 if remainder & 1 else 0)
    return base64.b64encode((remainder ^ (1 << 64) - 1).to_bytes(8, "big")).decode()


def test_crc64nvme_of_parts_and_of_the_whole_is_verified(emulator):
    assert crc64nvme(b"123456789") == "rosUhgp5mIg="
    client = s3_client(emulator)
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        client.put_object(Bucket="bkt", Key="k", Body=b"content", ChecksumCRC64NVME=crc64nvme(b"other"))
    assert s3_error(caught) == (400, "BadDigest")
    client.put_object(Bucket="bkt", Key="k", Body=b"content", ChecksumCRC64NVME=crc64nvme(b"content"))
    head = client.head_object(Bucket="bkt", Key="k", ChecksumMode="ENABLED")
    assert head["ChecksumCRC64NVME"] == crc64nvme(b"content")

    upload = client.create_multipart_upload(
        Bucket="bkt", Key="m", ChecksumAlgorithm="CRC64NVME", ChecksumType="FULL_OBJECT")["UploadId"]
    part = client.upload_part(
        Bucket="bkt", Key="m", UploadId=upload, PartNumber=1, Body=b"content", ChecksumCRC64NVME=crc64nvme(b"content"))
    complete = {
        "Bucket": "bkt", "Key": "m", "UploadId": upload, "ChecksumType": "FULL_OBJECT",
        "MultipartUpload": {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}}
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        client.complete_multipart_upload(**complete, ChecksumCRC64NVME=crc64nvme(b"other"))
    assert s3_error(caught) == (400, "BadDigest")
    reply = client.complete_multipart_upload(**complete, ChecksumCRC64NVME=crc64nvme(b"content"))
    assert (reply["ChecksumCRC64NVME"], reply["ChecksumType"]) == (crc64nvme(b"content"), "FULL_OBJECT")


def test_uploads_are_completed_under_conditions(emulator):
    client, bucket = s3_client(emulator), oss2_bucket(emulator)
    etag = client.put_object(Bucket="bkt", Key="k", Body=b"first")["ETag"]
    upload = client.create_multipart_upload(Bucket="bkt", Key="k")["UploadId"]
    part = client.upload_part(Bucket="bkt", Key="k", UploadId=upload, PartNumber=1, Body=b"second")
    complete = {
        "Bucket": "bkt", "Key": "k", "UploadId": upload,
        "MultipartUpload": {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}}
    for condition in ({"IfNoneMatch": "*"}, {"IfMatch": '"0"'}):
        with pytest.raises(botocore.exceptions.ClientError) as caught:
            client.complete_multipart_upload(**complete, **condition)
        assert s3_error(caught) == (412, "PreconditionFailed")
    client.complete_multipart_upload(**complete, IfMatch=etag)
    assert bucket.get_object("k").read() == b"second"

    forbid = {"x-oss-forbid-overwrite": "true"}
    upload = bucket.init_multipart_upload("k").upload_id
    parts = [oss2.models.PartInfo(1, bucket.upload_part("k", upload, 1, b"third").etag)]
    refusal = (409, "FileAlreadyExists")
    assert oss_refused(lambda: bucket.complete_multipart_upload("k", upload, parts, forbid)) == refusal
    assert oss_refused(lambda: bucket.copy_object("bkt", "k", "k", forbid)) == refusal
    bucket.copy_object("bkt", "k", "l", forbid)
    assert bucket.get_object("l").read() == b"second"


def test_versions(emulator):
    client = s3_client(emulator)
    client.put_object(Bucket="bkt", Key="k", Body=b"zero")
    client.put_bucket_versioning(Bucket="bkt", VersioningConfiguration={"Status": "Enabled"})
    assert client.get_bucket_versioning(Bucket="bkt")["Status"] == "Enabled"
    ids = [client.put_object(Bucket="bkt", Key="k", Body=body)["VersionId"] for body in (b"one", b"two")]
    marker = client.delete_object(Bucket="bkt", Key="k")
    assert marker["DeleteMarker"] is True
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        client.get_object(Bucket="bkt", Key="k")
    assert s3_error(caught) == (404, "NoSuchKey")
    assert caught.value.response["ResponseMetadata"]["HTTPHeaders"]["x-amz-delete-marker"] == "true"
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        client.get_object(Bucket="bkt", Key="k", VersionId=marker["VersionId"])
    assert s3_error(caught)[0] == 405
    assert [
        client.get_object(Bucket="bkt", Key="k", VersionId=version)["Body"].read() for version in ["null", *ids]
    ] == [b"zero", b"one", b"two"]

    pages = list(client.get_paginator("list_object_versions").paginate(Bucket="bkt", PaginationConfig={"PageSize": 1}))
    listed = [entry for page in pages for entry in page.get("Versions", []) + page.get("DeleteMarkers", [])]
    assert [entry["VersionId"] for entry in listed] == [marker["VersionId"], *ids[::-1], "null"]
    assert [entry["IsLatest"] for entry in listed] == [True, False, False, False]
    versions = oss2_bucket(emulator).list_object_versions()
    assert [version.versionid for version in versions.versions] == [*ids[::-1], "null"]
    assert [version.versionid for version in versions.delete_marker] == [marker["VersionId"]]

    client.delete_object(Bucket="bkt", Key="k", VersionId=marker["VersionId"])
    assert client.get_object(Bucket="bkt", Key="k")["Body"].read() == b"two"
    client.delete_object(Bucket="bkt", Key="k", VersionId=ids[1])
    assert oss2_bucket(emulator).get_object("k").read() == b"one"


@pytest.fixture
def certificate(tmp_path):
    """A self-signed certificate for 127.0.0.1 and its key."""
    files = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost",
         "-out", files[0], "-keyout", files[1]],
        check=True, capture_output=True, timeout=60)
    return files


@pytest.mark.parametrize("kind", ["memory", "files"])
def test_boto3_streams_chunks_with_a_trailer_over_https(certificate, tmp_path, kind):
    body = content((1 << 20) + 5)
    data = tmp_path / "data" if kind == "files" else None
    with Emulator(data=data, buckets=["bkt"], tls=certificate) as running:
        client = s3_client(running, verify=str(certificate[0]))
        sent = {}
        client.meta.events.register("before-send.s3.PutObject", lambda request, **_: sent.update(request.headers))
        client.put_object(Bucket="bkt", Key="k", Body=io.BytesIO(body))
        assert sent["X-Amz-Content-SHA256"] == b"STREAMING-UNSIGNED-PAYLOAD-TRAILER"
        reply = client.get_object(Bucket="bkt", Key="k")
        assert reply["Body"].read() == body
        assert "ContentEncoding" not in reply and "ChecksumCRC32" in reply


def test_a_restart_keeps_everything_in_the_data_directory(tmp_path):
    data = tmp_path / "data"
    with Emulator(data=data, buckets=["bkt"]) as running:
        bucket = oss2_bucket(running)
        bucket.put_object("hot", content(3_000_000), headers={"x-oss-meta-author": "alice"})
        bucket.put_object("frozen", b"cold", headers={"x-oss-storage-class": "ColdArchive"})
        bucket.restore_object("frozen")
        running.advance("6h")
        assert running.stop() == 0
    with Emulator(data=data) as running:
        bucket = oss2_bucket(running)
        assert bucket.get_object("hot").read() == content(3_000_000)
        assert bucket.head_object("hot").headers["x-oss-meta-author"] == "alice"
        assert bucket.get_object("frozen").read() == b"cold"


def test_bodies_of_deleted_and_replaced_objects_leave_the_disk(tmp_path):
    data = tmp_path / "data"
    with Emulator(data=data, buckets=["bkt"]) as running:
        bucket = oss2_bucket(running)
        for _ in range(3):
            bucket.put_object("k", b"content")
        bucket.copy_object("bkt", "k", "copy")
        assert len(list((data / "bodies").iterdir())) == 1
        bucket.delete_object("k")
        assert bucket.get_object("copy").read() == b"content"
        bucket.delete_object("copy")
        # Once the requests have ended that were there before it: a moment after their replies.
        wait_until(lambda: list((data / "bodies").iterdir()) == [], "the body to leave")
