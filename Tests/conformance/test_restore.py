"""Archives freeze, thaw by the clock, and freeze again, in both dialects."""

import urllib.request

import alibabacloud_oss_v2 as oss
import botocore.exceptions
import oss2
import pytest
from oss2.models import (
    RESTORE_TIER_BULK, RESTORE_TIER_EXPEDITED, RESTORE_TIER_STANDARD, RestoreConfiguration, RestoreJobParameters,
)

from clients import oss2_bucket, oss_v2_client, s3_client, s3_error


def configuration(days, tier):
    return RestoreConfiguration(days=days, job_parameters=RestoreJobParameters(tier))


def refused(call):
    with pytest.raises(oss2.exceptions.ServerError) as caught:
        call()
    return caught.value.status, caught.value.code


def s3_refused(call):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call()
    return s3_error(caught)


def put(bucket, storage_class, key="k"):
    bucket.put_object(key, b"content", headers={"x-oss-storage-class": storage_class})


@pytest.mark.parametrize("version", [1, 4])
def test_an_oss_archive_object_thaws_and_freezes_again(emulator, version):
    bucket = oss2_bucket(emulator, version=version)
    put(bucket, "Archive")
    with pytest.raises(oss2.exceptions.ServerError) as caught:
        bucket.get_object("k")
    error = caught.value
    assert (error.status, error.code, error.ec) == (403, "InvalidObjectState", "0016-00000404")
    assert "x-oss-restore" not in bucket.head_object("k").headers

    assert bucket.restore_object("k").status == 202
    assert bucket.head_object("k").headers["x-oss-restore"] == 'ongoing-request="true"'
    assert refused(lambda: bucket.restore_object("k")) == (409, "RestoreAlreadyInProgress")
    assert refused(lambda: bucket.get_object("k")) == (403, "InvalidObjectState")

    emulator.advance("1m")
    assert bucket.get_object("k").read() == b"content"
    head = bucket.head_object("k").headers["x-oss-restore"]
    assert head.startswith('ongoing-request="false", expiry-date="')
    assert [entry.restore_info for entry in bucket.list_objects_v2().object_list] == [head]
    assert [entry.restore_info for entry in bucket.list_objects().object_list] == [head]
    assert bucket.restore_object("k").status == 200

    emulator.advance("25h")
    assert refused(lambda: bucket.get_object("k")) == (403, "InvalidObjectState")
    assert "x-oss-restore" not in bucket.head_object("k").headers
    assert bucket.restore_object("k").status == 202


@pytest.mark.parametrize("storage_class, tier, before, rest", [
    ("ColdArchive", RESTORE_TIER_EXPEDITED, "59m", "2m"),
    ("ColdArchive", RESTORE_TIER_STANDARD, "299m", "2m"),
    ("ColdArchive", RESTORE_TIER_BULK, "719m", "2m"),
    ("DeepColdArchive", RESTORE_TIER_EXPEDITED, "719m", "2m"),
    ("DeepColdArchive", RESTORE_TIER_STANDARD, "2879m", "2m"),
])
def test_oss_tiers_take_their_documented_time(emulator, storage_class, tier, before, rest):
    bucket = oss2_bucket(emulator)
    put(bucket, storage_class)
    assert bucket.restore_object("k", input=configuration(2, tier)).status == 202
    emulator.advance(before)
    assert refused(lambda: bucket.get_object("k")) == (403, "InvalidObjectState")
    emulator.advance(rest)
    assert bucket.get_object("k").read() == b"content"


def test_an_oss_tier_may_only_rise(emulator):
    bucket = oss2_bucket(emulator)
    put(bucket, "ColdArchive")
    assert bucket.restore_object("k", input=configuration(1, RESTORE_TIER_STANDARD)).status == 202
    assert refused(lambda: bucket.restore_object("k", input=configuration(1, RESTORE_TIER_BULK)))[0] == 400
    assert bucket.restore_object("k", input=configuration(1, RESTORE_TIER_EXPEDITED)).status == 202
    emulator.advance("61m")
    assert bucket.get_object("k").read() == b"content"


def test_bad_oss_restores(emulator):
    bucket = oss2_bucket(emulator)
    for storage_class in ("Archive", "ColdArchive", "DeepColdArchive", "Standard", "IA"):
        put(bucket, storage_class, key=storage_class)
    assert refused(lambda: bucket.restore_object("missing")) == (404, "NoSuchKey")
    for online in ("Standard", "IA"):
        assert refused(lambda: bucket.restore_object(online)) == (400, "OperationNotSupported")
    for days in (0, 8):
        assert refused(lambda: bucket.restore_object("Archive", input=RestoreConfiguration(days=days)))[0] == 400
    assert refused(lambda: bucket.restore_object("Archive", input=configuration(1, RESTORE_TIER_STANDARD)))[0] == 400
    for days in (0, 366):
        assert refused(
            lambda: bucket.restore_object("ColdArchive", input=configuration(days, RESTORE_TIER_STANDARD))
        ) == (400, "InvalidArgument")
    unknown, too_slow = configuration(1, "Fast"), configuration(1, RESTORE_TIER_BULK)
    assert refused(lambda: bucket.restore_object("ColdArchive", input=unknown)) == (400, "InvalidArgument")
    assert refused(lambda: bucket.restore_object("DeepColdArchive", input=too_slow))[0] == 400


def test_oss_v2_restores_and_cleans(emulator):
    client = oss_v2_client(emulator)
    client.put_object(oss.PutObjectRequest(bucket="bkt", key="k", body=b"content", storage_class="ColdArchive"))
    restore = oss.RestoreObjectRequest(
        bucket="bkt", key="k", restore_request=oss.RestoreRequest(days=3, tier="Expedited"))
    assert client.restore_object(restore).status_code == 202
    assert client.head_object(oss.HeadObjectRequest(bucket="bkt", key="k")).restore == 'ongoing-request="true"'
    emulator.advance("1h")
    assert client.get_object(oss.GetObjectRequest(bucket="bkt", key="k")).body.read() == b"content"
    assert client.restore_object(restore).status_code == 200
    client.clean_restored_object(oss.CleanRestoredObjectRequest(bucket="bkt", key="k"))
    assert client.head_object(oss.HeadObjectRequest(bucket="bkt", key="k")).restore is None


def test_oss_archive_direct_read(emulator):
    client = oss_v2_client(emulator)
    for storage_class in ("Archive", "ColdArchive"):
        client.put_object(
            oss.PutObjectRequest(bucket="bkt", key=storage_class, body=b"content", storage_class=storage_class))
    get = oss.GetBucketArchiveDirectReadRequest(bucket="bkt")
    assert client.get_bucket_archive_direct_read(get).archive_direct_read_configuration.enabled is False
    client.put_bucket_archive_direct_read(oss.PutBucketArchiveDirectReadRequest(
        bucket="bkt", archive_direct_read_configuration=oss.ArchiveDirectReadConfiguration(enabled=True)))
    assert client.get_bucket_archive_direct_read(get).archive_direct_read_configuration.enabled is True
    bucket = oss2_bucket(emulator)
    assert bucket.get_object("Archive").read() == b"content"
    assert refused(lambda: bucket.get_object("ColdArchive")) == (403, "InvalidObjectState")


@pytest.mark.parametrize("storage_class, tier, before", [
    ("GLACIER", "Expedited", "4m"), ("GLACIER", "Standard", "299m"), ("GLACIER", "Bulk", "719m"),
    ("DEEP_ARCHIVE", "Standard", "719m"), ("DEEP_ARCHIVE", "Bulk", "2879m"),
])
def test_an_s3_object_thaws_and_freezes_again(emulator, storage_class, tier, before):
    client = s3_client(emulator)
    client.put_object(Bucket="bkt", Key="k", Body=b"content", StorageClass=storage_class)
    assert s3_refused(lambda: client.get_object(Bucket="bkt", Key="k")) == (403, "InvalidObjectState")
    ask = {"Days": 2, "GlacierJobParameters": {"Tier": tier}}

    def restore():
        return client.restore_object(Bucket="bkt", Key="k", RestoreRequest=ask)["ResponseMetadata"]["HTTPStatusCode"]

    def listed():
        reply = client.list_objects_v2(Bucket="bkt", OptionalObjectAttributes=["RestoreStatus"])
        return reply["Contents"][0].get("RestoreStatus")

    assert listed() is None
    assert restore() == 202
    assert s3_refused(restore) == (409, "RestoreAlreadyInProgress")
    assert client.head_object(Bucket="bkt", Key="k")["Restore"] == 'ongoing-request="true"'
    assert listed() == {"IsRestoreInProgress": True}
    assert "RestoreStatus" not in client.list_objects_v2(Bucket="bkt")["Contents"][0]

    emulator.advance(before)
    assert s3_refused(lambda: client.get_object(Bucket="bkt", Key="k")) == (403, "InvalidObjectState")
    emulator.advance("2m")
    assert client.get_object(Bucket="bkt", Key="k")["Body"].read() == b"content"
    assert client.get_object(Bucket="bkt", Key="k")["StorageClass"] == storage_class
    assert listed()["IsRestoreInProgress"] is False and "RestoreExpiryDate" in listed()
    assert restore() == 200

    emulator.advance("3d")
    assert s3_refused(lambda: client.get_object(Bucket="bkt", Key="k")) == (403, "InvalidObjectState")
    assert "Restore" not in client.head_object(Bucket="bkt", Key="k")


def test_bad_s3_restores(emulator):
    client = s3_client(emulator)
    for storage_class in ("STANDARD", "GLACIER", "DEEP_ARCHIVE"):
        client.put_object(Bucket="bkt", Key=storage_class, Body=b"content", StorageClass=storage_class)

    def restore(key, days=1, tier="Standard"):
        return s3_refused(lambda: client.restore_object(
            Bucket="bkt", Key=key, RestoreRequest={"Days": days, "GlacierJobParameters": {"Tier": tier}}))

    assert restore("missing") == (404, "NoSuchKey")
    assert restore("STANDARD") == (403, "ObjectAlreadyInActiveTierError")
    assert restore("GLACIER", days=0) == (400, "InvalidArgument")
    assert restore("DEEP_ARCHIVE", tier="Expedited") == (400, "InvalidArgument")


def test_expedited_without_capacity(emulator):
    client = s3_client(emulator)
    client.put_object(Bucket="bkt", Key="k", Body=b"content", StorageClass="GLACIER")
    emulator.fault({"expedited_unavailable": True})
    expedited = {"Days": 1, "GlacierJobParameters": {"Tier": "Expedited"}}
    assert s3_refused(lambda: client.restore_object(Bucket="bkt", Key="k", RestoreRequest=expedited)) == (
        503, "GlacierExpeditedRetrievalNotAvailable")
    client.restore_object(
        Bucket="bkt", Key="k", RestoreRequest={"Days": 1, "GlacierJobParameters": {"Tier": "Standard"}})


def test_a_restore_that_fails_leaves_the_object_frozen(emulator):
    bucket = oss2_bucket(emulator)
    put(bucket, "Archive")
    emulator.fault({"restore_fails": True}, times=1)
    assert bucket.restore_object("k").status == 202
    emulator.advance("2m")
    assert refused(lambda: bucket.get_object("k")) == (403, "InvalidObjectState")
    assert bucket.restore_object("k").status == 202
    emulator.advance("2m")
    assert bucket.get_object("k").read() == b"content"


def test_archived_intelligent_tiering(emulator):
    client = s3_client(emulator)
    client.put_object(Bucket="bkt", Key="k", Body=b"content", StorageClass="INTELLIGENT_TIERING")
    assert client.get_object(Bucket="bkt", Key="k")["Body"].read() == b"content"
    emulator.set_object("bkt", "k", archive_status="ARCHIVE_ACCESS")
    assert client.head_object(Bucket="bkt", Key="k")["ArchiveStatus"] == "ARCHIVE_ACCESS"
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        client.get_object(Bucket="bkt", Key="k")
    assert s3_error(caught) == (403, "InvalidObjectState")
    assert caught.value.response["AccessTier"] == "ARCHIVE_ACCESS"
    client.restore_object(Bucket="bkt", Key="k", RestoreRequest={"GlacierJobParameters": {"Tier": "Standard"}})
    assert client.head_object(Bucket="bkt", Key="k")["Restore"] == 'ongoing-request="true"'
    emulator.advance("6h")
    assert "ArchiveStatus" not in client.head_object(Bucket="bkt", Key="k")
    emulator.advance("365d")
    assert client.get_object(Bucket="bkt", Key="k")["Body"].read() == b"content"


def test_a_frozen_object_cannot_be_copied(emulator):
    client = s3_client(emulator)
    client.put_object(Bucket="bkt", Key="k", Body=b"content", StorageClass="GLACIER")
    assert s3_refused(
        lambda: client.copy_object(Bucket="bkt", Key="copy", CopySource={"Bucket": "bkt", "Key": "k"})
    ) == (403, "ObjectNotInActiveTierError")
    bucket = oss2_bucket(emulator)
    put(bucket, "Archive", key="a")
    assert refused(lambda: bucket.copy_object("bkt", "a", "copy")) == (403, "InvalidObjectState")
    upload = bucket.init_multipart_upload("parts").upload_id
    assert refused(lambda: bucket.upload_part_copy("bkt", "a", None, "parts", upload, 1)) == (403, "InvalidObjectState")


def test_one_version_thaws_alone(emulator):
    client = s3_client(emulator)
    client.put_bucket_versioning(Bucket="bkt", VersioningConfiguration={"Status": "Enabled"})
    first, second = (
        client.put_object(Bucket="bkt", Key="k", Body=body, StorageClass="GLACIER")["VersionId"]
        for body in (b"one", b"two"))
    client.restore_object(
        Bucket="bkt", Key="k", VersionId=first,
        RestoreRequest={"Days": 1, "GlacierJobParameters": {"Tier": "Expedited"}})
    emulator.advance("5m")
    assert client.get_object(Bucket="bkt", Key="k", VersionId=first)["Body"].read() == b"one"
    assert s3_refused(lambda: client.get_object(Bucket="bkt", Key="k", VersionId=second)) == (403, "InvalidObjectState")
    assert s3_refused(lambda: client.get_object(Bucket="bkt", Key="k")) == (403, "InvalidObjectState")


def clean(emulator, key):
    return oss_v2_client(emulator).clean_restored_object(oss.CleanRestoredObjectRequest(bucket="bkt", key=key))


def clean_refused(call):
    with pytest.raises(oss.exceptions.OperationError) as caught:
        call()
    return caught.value.unwrap().status_code, caught.value.unwrap().code


@pytest.mark.parametrize("storage_class", ["Archive", "ColdArchive"])
def test_a_restored_oss_object_is_frozen_before_its_time(emulator, storage_class):
    bucket = oss2_bucket(emulator)
    put(bucket, storage_class)
    assert clean_refused(lambda: clean(emulator, "k")) == (409, "ArchiveRestoreFileStale")
    bucket.restore_object("k")
    assert clean_refused(lambda: clean(emulator, "k")) == (409, "ArchiveRestoreNotFinished")
    emulator.advance("6h")
    assert bucket.get_object("k").read() == b"content"
    assert clean(emulator, "k").status_code == 200
    assert refused(lambda: bucket.get_object("k")) == (403, "InvalidObjectState")
    assert "x-oss-restore" not in bucket.head_object("k").headers
    assert clean_refused(lambda: clean(emulator, "k")) == (409, "ArchiveRestoreFileStale")
    assert bucket.restore_object("k").status == 202


def test_what_cannot_be_frozen_before_its_time(emulator):
    put(oss2_bucket(emulator), "Standard")
    assert clean_refused(lambda: clean(emulator, "k")) == (400, "OperationNotSupported")
    assert clean_refused(lambda: clean(emulator, "missing")) == (404, "NoSuchKey")


def test_one_version_is_frozen_before_its_time(emulator):
    bucket = oss2_bucket(emulator)
    bucket.put_bucket_versioning(oss2.models.BucketVersioningConfig(oss2.BUCKET_VERSIONING_ENABLE))
    headers = {"x-oss-storage-class": "Archive"}
    first, second = (bucket.put_object("k", body, headers=headers).versionid for body in (b"one", b"two"))
    for version in (first, second):
        bucket.restore_object("k", params={"versionId": version})
    emulator.advance("2m")
    # The SDKs name no version here; the request is OSS's all the same.
    url = bucket.sign_url("POST", "k", 60, params={"cleanRestoredObject": "", "versionId": first})
    with urllib.request.urlopen(urllib.request.Request(url, method="POST", headers={"Content-Length": "0"})) as reply:
        assert reply.headers["x-oss-version-id"] == first
    assert refused(lambda: bucket.get_object("k", params={"versionId": first})) == (403, "InvalidObjectState")
    assert bucket.get_object("k", params={"versionId": second}).read() == b"two"


def test_the_listing_of_versions_has_the_restore_state_of_each(emulator):
    client = s3_client(emulator)
    client.put_bucket_versioning(Bucket="bkt", VersioningConfiguration={"Status": "Enabled"})
    first, second, third = (
        client.put_object(Bucket="bkt", Key="k", Body=body, StorageClass="GLACIER")["VersionId"]
        for body in (b"one", b"two!", b"three"))
    for version, tier in ((first, "Expedited"), (second, "Standard")):
        client.restore_object(
            Bucket="bkt", Key="k", VersionId=version,
            RestoreRequest={"Days": 1, "GlacierJobParameters": {"Tier": tier}})
    emulator.advance("5m")
    client.delete_object(Bucket="bkt", Key="k")

    reply = client.list_object_versions(Bucket="bkt", OptionalObjectAttributes=["RestoreStatus"])
    states = {entry["VersionId"]: entry.get("RestoreStatus") for entry in reply["Versions"]}
    assert states[first]["IsRestoreInProgress"] is False and "RestoreExpiryDate" in states[first]
    assert states[second] == {"IsRestoreInProgress": True}
    assert states[third] is None
    assert [entry["VersionId"] for entry in reply["Versions"]] == [third, second, first]
    assert [entry["Size"] for entry in reply["Versions"]] == [5, 4, 3]
    assert [entry["IsLatest"] for entry in reply["DeleteMarkers"]] == [True]
    plain = client.list_object_versions(Bucket="bkt")
    assert all("RestoreStatus" not in entry for entry in plain["Versions"])

    # OSS's way of saying the same, for the same kind of objects.
    bucket = oss2_bucket(emulator)
    for _ in range(2):
        put(bucket, "Archive", key="a")
    newest = bucket.list_object_versions(prefix="a").versions[0].versionid
    bucket.restore_object("a", params={"versionId": newest})
    listed = {entry.versionid: entry.restore_info for entry in bucket.list_object_versions(prefix="a").versions}
    assert listed.pop(newest) == 'ongoing-request="true"'
    assert list(listed.values()) == [None]
