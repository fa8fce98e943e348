"""Objects and listings, through each SDK."""

import base64
import datetime
import hashlib
import urllib.parse
import urllib.request

import alibabacloud_oss_v2 as oss
import botocore.exceptions
import oss2
import pytest

from clients import oss2_bucket, oss_v2_client, s3_client, s3_error
from support.emulator import Emulator

EVERY_BYTE_OF_A_KEY = "".join(chr(code) for code in range(0x20, 0x7F)) + "é中🙂"
SEEDED_BYTES = (1 << 20) + 12345


@pytest.fixture(params=["memory", "files"])
def store(request, tmp_path):
    """The emulator both ways it keeps bodies."""
    with Emulator(data=tmp_path / "data" if request.param == "files" else None, buckets=["bkt"]) as running:
        yield running


def content(size):
    block = hashlib.sha256(b"thawfs").digest()
    return (block * (size // len(block) + 1))[:size]


def oss_refused(call):
    with pytest.raises(oss2.exceptions.ServerError) as caught:
        call()
    return caught.value.status, caught.value.code


def s3_refused(call):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call()
    return s3_error(caught)


@pytest.mark.parametrize("change", ["put_object", "delete_object"])
def test_a_body_on_its_way_stays_what_it_was_when_the_object_changes(store, change):
    # More than the sockets' buffers hold.
    body = content(48 << 20)
    client = s3_client(store)
    client.put_object(Bucket="bkt", Key="k", Body=body)
    reply = client.get_object(Bucket="bkt", Key="k")["Body"]
    begun = reply.read(1 << 20)
    getattr(client, change)(Bucket="bkt", Key="k")
    assert begun + reply.read() == body


@pytest.mark.parametrize("size", [0, 1, 65536, (3 << 20) + 7])
def test_what_was_put_is_got_by_everyone(store, size):
    body = content(size)
    md5 = hashlib.md5(body).hexdigest()
    put = oss2_bucket(store).put_object("k", body)
    assert put.etag == md5.upper()
    got = oss2_bucket(store, version=1).get_object("k")
    assert got.read() == body
    assert got.server_crc == put.crc
    client = oss_v2_client(store)
    assert client.get_object(oss.GetObjectRequest(bucket="bkt", key="k")).body.read() == body
    reply = s3_client(store).get_object(Bucket="bkt", Key="k")
    assert reply["Body"].read() == body
    assert reply["ETag"] == f'"{md5}"'


def test_ranges(store):
    body = content((2 << 20) + 100)
    s3 = s3_client(store)
    s3.put_object(Bucket="bkt", Key="k", Body=body)
    for header, expected in [
        ("bytes=0-0", body[:1]), ("bytes=5-1048580", body[5:1048581]), ("bytes=1048570-", body[1048570:]),
        ("bytes=-7", body[-7:]), ("bytes=0-99999999", body),
    ]:
        reply = s3.get_object(Bucket="bkt", Key="k", Range=header)
        assert reply["ResponseMetadata"]["HTTPStatusCode"] == 206
        assert reply["Body"].read() == expected
    assert s3_refused(lambda: s3.get_object(Bucket="bkt", Key="k", Range="bytes=99999999-")) == (416, "InvalidRange")


def test_oss_ignores_ranges_past_the_end_unless_told_to_be_standard(emulator):
    bucket = oss2_bucket(emulator)
    bucket.put_object("k", b"0123456789")
    standard = {"x-oss-range-behavior": "standard"}
    assert bucket.get_object("k", byte_range=(2, 5)).read() == b"2345"
    quirk = bucket.get_object("k", byte_range=(5, 10))
    assert (quirk.status, quirk.read()) == (200, b"0123456789")
    clipped = bucket.get_object("k", byte_range=(5, 10), headers=standard)
    assert (clipped.status, clipped.read()) == (206, b"56789")
    assert bucket.get_object("k", byte_range=(10, 20)).status == 200
    assert oss_refused(lambda: bucket.get_object("k", byte_range=(10, 20), headers=standard)) == (416, "InvalidRange")


def test_conditions(emulator):
    s3 = s3_client(emulator)
    etag = s3.put_object(Bucket="bkt", Key="k", Body=b"one")["ETag"]
    assert s3.get_object(Bucket="bkt", Key="k", IfMatch=etag)["Body"].read() == b"one"
    assert s3_refused(lambda: s3.get_object(Bucket="bkt", Key="k", IfMatch='"other"')) == (412, "PreconditionFailed")
    assert s3_refused(lambda: s3.get_object(Bucket="bkt", Key="k", IfNoneMatch=etag))[0] == 304
    assert s3_refused(lambda: s3.put_object(Bucket="bkt", Key="k", Body=b"", IfNoneMatch="*")) == (
        412, "PreconditionFailed")
    assert s3_refused(lambda: s3.put_object(Bucket="bkt", Key="k", Body=b"", IfMatch='"other"')) == (
        412, "PreconditionFailed")
    assert s3_refused(lambda: s3.put_object(Bucket="bkt", Key="none", Body=b"", IfMatch=etag)) == (404, "NoSuchKey")
    s3.put_object(Bucket="bkt", Key="k", Body=b"two", IfMatch=etag)
    bucket = oss2_bucket(emulator)
    assert oss_refused(lambda: bucket.put_object("k", b"", headers={"x-oss-forbid-overwrite": "true"})) == (
        409, "FileAlreadyExists")
    assert bucket.get_object("k", headers={"If-Match": bucket.head_object("k").headers["ETag"]}).read() == b"two"


def test_integrity_of_what_is_sent(emulator):
    bucket = oss2_bucket(emulator)
    wrong = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    headers = {"Content-MD5": wrong}
    assert oss_refused(lambda: bucket.put_object("k", b"body", headers=headers)) == (400, "InvalidDigest")
    s3 = s3_client(emulator)
    wanted = {"Bucket": "bkt", "Key": "k", "Body": b"body", "ContentMD5": wrong}
    assert s3_refused(lambda: s3.put_object(**wanted)) == (400, "BadDigest")
    assert s3_refused(
        lambda: s3.put_object(Bucket="bkt", Key="k", Body=b"body", ChecksumCRC32="AAAAAA==")) == (400, "BadDigest")
    assert s3_refused(lambda: s3.get_object(Bucket="bkt", Key="k")) == (404, "NoSuchKey")
    for algorithm, checksum in [
        ("CRC32", "y/Q5Jg=="), ("SHA256", base64.b64encode(hashlib.sha256(b"123456789").digest()).decode()),
        ("SHA1", base64.b64encode(hashlib.sha1(b"123456789").digest()).decode()),
    ]:
        s3.put_object(Bucket="bkt", Key="k", Body=b"123456789", ChecksumAlgorithm=algorithm)
        head = s3.head_object(Bucket="bkt", Key="k", ChecksumMode="ENABLED")
        assert head[f"Checksum{algorithm}"] == checksum


def test_metadata_and_classes_are_kept(emulator):
    bucket = oss2_bucket(emulator)
    bucket.put_object("k", b"body", headers={
        "x-oss-meta-author": "alice", "x-oss-storage-class": "ColdArchive", "Content-Type": "text/plain",
        "Cache-Control": "no-cache"})
    head = bucket.head_object("k").headers
    assert head["x-oss-storage-class"] == "ColdArchive"
    kept = (head["x-oss-meta-author"], head["Content-Type"], head["Cache-Control"])
    assert kept == ("alice", "text/plain", "no-cache")
    assert head["x-oss-object-type"] == "Normal"
    meta = bucket.get_object_meta("k")
    assert meta.content_length == 4 and "x-oss-storage-class" not in meta.headers
    s3 = s3_client(emulator)
    s3.put_object(Bucket="bkt", Key="unknown", Body=b"", StorageClass="NEVER_HEARD_OF")
    assert s3.head_object(Bucket="bkt", Key="unknown")["StorageClass"] == "NEVER_HEARD_OF"
    s3.put_object(Bucket="bkt", Key="plain", Body=b"")
    assert "StorageClass" not in s3.head_object(Bucket="bkt", Key="plain")


def test_missing_things(emulator):
    bucket = oss2_bucket(emulator)
    assert oss_refused(lambda: bucket.get_object("none")) == (404, "NoSuchKey")
    assert oss_refused(lambda: bucket.head_object("none")) == (404, "NoSuchKey")
    assert oss_refused(lambda: oss2_bucket(emulator, "nobucket").get_object("none")) == (404, "NoSuchBucket")
    s3 = s3_client(emulator)
    assert s3_refused(lambda: s3.list_objects_v2(Bucket="nobucket")) == (404, "NoSuchBucket")
    assert s3_refused(lambda: s3.head_object(Bucket="bkt", Key="none"))[0] == 404


def test_what_is_not_implemented_says_so(emulator):
    s3 = s3_client(emulator)
    assert s3_refused(lambda: s3.get_bucket_acl(Bucket="bkt")) == (501, "NotImplemented")
    assert oss_refused(lambda: oss2_bucket(emulator).get_object_acl("k")) == (501, "NotImplemented")


def test_awkward_keys_come_back_from_every_listing(emulator):
    keys = sorted([EVERY_BYTE_OF_A_KEY, "a//b", "a/./b/../c", "trailing/", "per%2Fcent", " blank "])
    bucket = oss2_bucket(emulator)
    for key in keys:
        bucket.put_object(key, b"x")
    assert [entry.key for entry in oss2.ObjectIteratorV2(bucket)] == keys
    assert [entry.key for entry in oss2.ObjectIterator(bucket)] == keys
    request = oss.ListObjectsV2Request(bucket="bkt", max_keys=2)
    pages = oss_v2_client(emulator).list_objects_v2_paginator().iter_page(request)
    assert [entry.key for page in pages for entry in page.contents or []] == keys
    paginator = s3_client(emulator).get_paginator("list_objects_v2")
    pages = paginator.paginate(Bucket="bkt", PaginationConfig={"PageSize": 2})
    assert [entry["Key"] for page in pages for entry in page["Contents"]] == keys
    pages = s3_client(emulator).get_paginator("list_objects").paginate(Bucket="bkt", PaginationConfig={"PageSize": 2})
    assert [entry["Key"] for page in pages for entry in page["Contents"]] == keys
    for key in keys:
        assert s3_client(emulator).get_object(Bucket="bkt", Key=key)["Body"].read() == b"x"


def test_a_key_may_hold_every_byte():
    key = bytes(range(1, 256))
    path = "/bkt/" + urllib.parse.quote_from_bytes(key, safe="")
    with Emulator(buckets=["bkt"], arguments=["--lenient"]) as running:
        def ask(method, path, body=None):
            request = urllib.request.Request(running.url + path, data=body, method=method)
            with urllib.request.urlopen(request, timeout=20) as reply:
                return reply.read()

        ask("PUT", path, b"content")
        assert ask("GET", path) == b"content"
        listing = ask("GET", "/bkt?list-type=2&encoding-type=url").decode()
        listed = listing.split("<Key>")[1].split("</Key>")[0]
        assert urllib.parse.unquote_to_bytes(listed) == key


def test_listings_roll_up_prefixes_page_by_page(emulator):
    emulator.seed("bkt", count=5000, prefix="many/", pattern="{d}/{i:5}")
    emulator.seed("bkt", count=3, prefix="top-")
    emulator.clear_requests()
    s3 = s3_client(emulator)
    pages = list(s3.get_paginator("list_objects_v2").paginate(
        Bucket="bkt", Prefix="many/", Delimiter="/", PaginationConfig={"PageSize": 2}))
    assert [prefix["Prefix"] for page in pages for prefix in page["CommonPrefixes"]] == [
        f"many/{number}/" for number in range(5)]
    assert [page["KeyCount"] for page in pages] == [2, 2, 1]
    bucket = oss2_bucket(emulator)
    listed = [entry.key for entry in oss2.ObjectIteratorV2(bucket, delimiter="/", max_keys=2)]
    assert listed == ["many/", "top-00000000", "top-00000001", "top-00000002"]
    assert len(list(oss2.ObjectIteratorV2(bucket, prefix="many/", max_keys=1000))) == 5000
    assert [entry.key for entry in bucket.list_objects_v2(start_after="top-00000001").object_list] == ["top-00000002"]
    assert emulator.requests()["counts"]["ListObjectsV2"] == 3 + 2 + 5 + 1


def test_seeded_content_is_the_same_whichever_way_it_is_read(emulator):
    emulator.seed("bkt", size=SEEDED_BYTES, pattern="big")
    s3 = s3_client(emulator)
    whole = s3.get_object(Bucket="bkt", Key="big")["Body"].read()
    assert len(whole) == SEEDED_BYTES
    for start, end in [(0, 10), (65530, 65545), (1048570, 1048590), (SEEDED_BYTES - 5, SEEDED_BYTES)]:
        part = s3.get_object(Bucket="bkt", Key="big", Range=f"bytes={start}-{end - 1}")
        assert part["Body"].read() == whole[start:end]


def test_copies(store):
    body = content(200_000)
    bucket = oss2_bucket(store)
    bucket.put_object("src dir/a+b", body, headers={"x-oss-meta-author": "alice"})
    bucket.copy_object("bkt", "src dir/a+b", "copy")
    assert bucket.get_object("copy").read() == body
    assert bucket.head_object("copy").headers["x-oss-meta-author"] == "alice"
    s3 = s3_client(store)
    source = {"Bucket": "bkt", "Key": "src dir/a+b"}
    onto_itself = {"Bucket": "bkt", "Key": "src dir/a+b", "CopySource": source}
    assert s3_refused(lambda: s3.copy_object(**onto_itself)) == (400, "InvalidRequest")
    s3.copy_object(
        Bucket="bkt", Key="src dir/a+b", CopySource=source, MetadataDirective="REPLACE", Metadata={"author": "bob"},
        StorageClass="GLACIER")
    head = s3.head_object(Bucket="bkt", Key="src dir/a+b")
    assert (head["Metadata"], head["StorageClass"]) == ({"author": "bob"}, "GLACIER")
    bucket.delete_object("src dir/a+b")
    assert bucket.get_object("copy").read() == body


def test_deletes(emulator):
    bucket = oss2_bucket(emulator)
    for number in range(10):
        bucket.put_object(f"k {number}", b"x")
    bucket.delete_object("k 0")
    bucket.delete_object("never was")
    assert bucket.batch_delete_objects(["k 1", "k 2", "never was"]).deleted_keys == ["k 1", "k 2", "never was"]
    s3 = s3_client(emulator)
    reply = s3.delete_objects(Bucket="bkt", Delete={"Objects": [{"Key": "k 3"}, {"Key": "k 4"}]})
    assert [entry["Key"] for entry in reply["Deleted"]] == ["k 3", "k 4"]
    client = oss_v2_client(emulator)
    client.delete_multiple_objects(oss.DeleteMultipleObjectsRequest(
        bucket="bkt", encoding_type="url", objects=[oss.DeleteObject(key="k 5")]))
    assert [entry.key for entry in bucket.list_objects_v2().object_list] == [f"k {number}" for number in range(6, 10)]


def test_buckets(emulator):
    s3 = s3_client(emulator)
    s3.create_bucket(Bucket="second")
    s3.head_bucket(Bucket="second")
    assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == ["bkt", "second"]
    service = oss2.Service(oss2.AuthV4("thawfs", "thawfs-secret"), emulator.url, region="cn-hangzhou")
    assert [bucket.name for bucket in oss2.BucketIterator(service)] == ["bkt", "second"]
    bucket = oss2_bucket(emulator, "second")
    info = bucket.get_bucket_info()
    assert (info.name, info.storage_class, info.location) == ("second", "Standard", "oss-cn-hangzhou")
    assert bucket.get_bucket_location().location == "oss-cn-hangzhou"
    assert s3.get_bucket_location(Bucket="second")["LocationConstraint"] is None
    bucket.put_object("k", b"x")
    assert s3_refused(lambda: s3.delete_bucket(Bucket="second")) == (409, "BucketNotEmpty")
    bucket.delete_object("k")
    bucket.delete_bucket()
    assert s3_refused(lambda: s3.head_bucket(Bucket="second"))[0] == 404


@pytest.fixture
def locked(emulator):
    """A client, and a bucket `locked` whose versions can be locked, with the object `k`; its version's id."""
    client = s3_client(emulator)
    client.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
    return client, client.put_object(Bucket="locked", Key="k", Body=b"content")["VersionId"]


def test_a_retention_keeps_a_version(locked):
    client, version = locked
    k = {"Bucket": "locked", "Key": "k"}
    assert s3_refused(lambda: client.get_object_retention(**k)) == (404, "NoSuchObjectLockConfiguration")
    until = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0) + datetime.timedelta(days=2)
    client.put_object_retention(**k, Retention={"Mode": "GOVERNANCE", "RetainUntilDate": until})
    assert client.get_object_retention(**k)["Retention"] == {"Mode": "GOVERNANCE", "RetainUntilDate": until}
    head = client.head_object(**k)
    assert (head["ObjectLockMode"], head["ObjectLockRetainUntilDate"]) == ("GOVERNANCE", until)
    assert s3_refused(lambda: client.delete_object(**k, VersionId=version)) == (403, "AccessDenied")
    shorter = {"Mode": "GOVERNANCE", "RetainUntilDate": until - datetime.timedelta(days=1)}
    assert s3_refused(lambda: client.put_object_retention(**k, Retention=shorter)) == (403, "AccessDenied")
    client.put_object_retention(**k, Retention=shorter, BypassGovernanceRetention=True)
    client.put_object_retention(**k, Retention={"Mode": "COMPLIANCE", "RetainUntilDate": until})
    assert s3_refused(lambda: client.put_object_retention(
        **k, Retention=shorter, BypassGovernanceRetention=True)) == (403, "AccessDenied")
    assert s3_refused(lambda: client.delete_object(
        **k, VersionId=version, BypassGovernanceRetention=True)) == (403, "AccessDenied")
    # A marker hides it, and does it no harm.
    client.delete_object(**k)
    assert client.get_object(**k, VersionId=version)["Body"].read() == b"content"


def test_a_legal_hold_keeps_a_version_until_it_is_lifted(locked):
    client, version = locked
    k = {"Bucket": "locked", "Key": "k"}
    assert s3_refused(lambda: client.get_object_legal_hold(**k)) == (404, "NoSuchObjectLockConfiguration")
    client.put_object_legal_hold(**k, LegalHold={"Status": "ON"})
    assert client.get_object_legal_hold(**k)["LegalHold"] == {"Status": "ON"}
    assert client.head_object(**k)["ObjectLockLegalHoldStatus"] == "ON"
    assert s3_refused(lambda: client.delete_object(
        **k, VersionId=version, BypassGovernanceRetention=True)) == (403, "AccessDenied")
    client.put_object_legal_hold(**k, LegalHold={"Status": "OFF"})
    assert client.get_object_legal_hold(**k)["LegalHold"] == {"Status": "OFF"}
    client.delete_object(**k, VersionId=version)
    assert s3_refused(lambda: client.head_object(**k)) == (404, "404")


def test_a_bucket_without_object_lock_locks_no_object(emulator):
    client = s3_client(emulator)
    client.put_object(Bucket="bkt", Key="k", Body=b"content")
    for call in (lambda: client.put_object_legal_hold(Bucket="bkt", Key="k", LegalHold={"Status": "ON"}),
                 lambda: client.get_object_retention(Bucket="bkt", Key="k")):
        assert s3_refused(call) == (400, "InvalidRequest")
