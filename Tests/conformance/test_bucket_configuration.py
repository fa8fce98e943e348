"""Bucket configurations as the vendors' own SDKs put, get and delete them; uploads by pages; locked buckets."""

import alibabacloud_oss_v2 as oss
import botocore.exceptions
import oss2
import pytest

from clients import oss2_bucket, oss_v2_client, s3_client, s3_error

CORS = {"CORSRules": [{"AllowedMethods": ["GET", "PUT"], "AllowedOrigins": ["http://www.example.com"]}]}
LIFECYCLE = {"Rules": [{
    "ID": "old", "Status": "Enabled", "Filter": {"Prefix": "logs/"},
    "Transitions": [{"Days": 20, "StorageClass": "GLACIER"}]}]}


def refused(call, *arguments, **parameters):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call(*arguments, **parameters)
    return s3_error(caught)


def inventory(name):
    return {
        "Id": name, "IsEnabled": True, "IncludedObjectVersions": "Current", "Schedule": {"Frequency": "Daily"},
        "Destination": {"S3BucketDestination": {"Bucket": "arn:aws:s3:::bkt", "Format": "CSV"}}}


@pytest.mark.parametrize("name, missing, parameter, value, key", [
    ("bucket_lifecycle_configuration", "NoSuchLifecycleConfiguration", "LifecycleConfiguration", LIFECYCLE, "Rules"),
    ("bucket_cors", "NoSuchCORSConfiguration", "CORSConfiguration", CORS, "CORSRules"),
    ("bucket_website", "NoSuchWebsiteConfiguration", "WebsiteConfiguration",
     {"IndexDocument": {"Suffix": "index.html"}}, "IndexDocument"),
    ("public_access_block", "NoSuchPublicAccessBlockConfiguration", "PublicAccessBlockConfiguration",
     {"BlockPublicAcls": True, "IgnorePublicAcls": True}, None),
])
def test_boto3_puts_gets_and_deletes(emulator, name, missing, parameter, value, key):
    client = s3_client(emulator)
    get, put = getattr(client, "get_" + name), getattr(client, "put_" + name)
    delete = getattr(client, "delete_" + name.removesuffix("_configuration"))
    assert refused(get, Bucket="bkt") == (404, missing)
    put(Bucket="bkt", **{parameter: value})
    assert (get(Bucket="bkt")[key] == value[key]) if key else (get(Bucket="bkt")[parameter] == value)
    delete(Bucket="bkt")
    assert refused(get, Bucket="bkt") == (404, missing)
    assert refused(get, Bucket="other") == (404, "NoSuchBucket")


def test_boto3_keeps_inventories_by_their_ids(emulator):
    client = s3_client(emulator)
    names = [f"report-{number:03}" for number in range(101)]
    for name in names:
        client.put_bucket_inventory_configuration(Bucket="bkt", Id=name, InventoryConfiguration=inventory(name))
    page = client.list_bucket_inventory_configurations(Bucket="bkt")
    assert page["IsTruncated"] is True
    rest = client.list_bucket_inventory_configurations(Bucket="bkt", ContinuationToken=page["NextContinuationToken"])
    listed = page["InventoryConfigurationList"] + rest["InventoryConfigurationList"]
    assert [entry["Id"] for entry in listed] == names
    assert client.get_bucket_inventory_configuration(Bucket="bkt", Id="report-007")["InventoryConfiguration"]["Id"] \
        == "report-007"
    client.delete_bucket_inventory_configuration(Bucket="bkt", Id="report-007")
    assert refused(client.get_bucket_inventory_configuration, Bucket="bkt", Id="report-007") \
        == (404, "NoSuchConfiguration")


def test_object_lock_is_for_buckets_that_were_created_with_it(emulator):
    client = s3_client(emulator)
    rule = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 30}}}
    assert refused(client.get_object_lock_configuration, Bucket="bkt") == (404, "ObjectLockConfigurationNotFoundError")
    assert refused(client.put_object_lock_configuration, Bucket="bkt", ObjectLockConfiguration=rule) \
        == (409, "InvalidBucketState")
    client.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
    assert client.get_bucket_versioning(Bucket="locked")["Status"] == "Enabled"
    assert client.get_object_lock_configuration(Bucket="locked")["ObjectLockConfiguration"] \
        == {"ObjectLockEnabled": "Enabled"}
    client.put_object_lock_configuration(Bucket="locked", ObjectLockConfiguration=rule)
    assert client.get_object_lock_configuration(Bucket="locked")["ObjectLockConfiguration"] == rule


def test_what_breaks_a_rule_is_refused(emulator):
    client = s3_client(emulator)
    nothing = {"Rules": [{"ID": "idle", "Status": "Enabled", "Filter": {"Prefix": ""}}]}
    assert refused(client.put_bucket_lifecycle_configuration, Bucket="bkt", LifecycleConfiguration=nothing) \
        == (400, "MalformedXML")


def test_uploads_are_listed_by_pages(emulator):
    client = s3_client(emulator)
    keys = ["a", "a", "b +%", "c"]
    begun = [(key, client.create_multipart_upload(Bucket="bkt", Key=key)["UploadId"]) for key in keys]
    pages = client.get_paginator("list_multipart_uploads").paginate(Bucket="bkt", PaginationConfig={"PageSize": 1})
    listed = [(entry["Key"], entry["UploadId"]) for page in pages for entry in page.get("Uploads", [])]
    assert sorted(listed) == sorted(begun)
    assert [key for key, _ in listed] == keys
    client.abort_multipart_upload(Bucket="bkt", Key="c", UploadId=begun[3][1])
    assert len(client.list_multipart_uploads(Bucket="bkt")["Uploads"]) == 3


def test_oss_keeps_lifecycle_cors_and_website(emulator):
    bucket = oss2_bucket(emulator)
    with pytest.raises(oss2.exceptions.NoSuchLifecycle):
        bucket.get_bucket_lifecycle()
    rule = oss2.models.LifecycleRule(
        "old", "logs/", status=oss2.models.LifecycleRule.ENABLED,
        storage_transitions=[oss2.models.StorageTransition(days=30, storage_class="ColdArchive")])
    bucket.put_bucket_lifecycle(oss2.models.BucketLifecycle([rule]))
    got = bucket.get_bucket_lifecycle().rules
    assert [(entry.id, entry.prefix, entry.storage_transitions[0].storage_class) for entry in got] \
        == [("old", "logs/", "ColdArchive")]
    bucket.delete_bucket_lifecycle()
    with pytest.raises(oss2.exceptions.NoSuchLifecycle):
        bucket.get_bucket_lifecycle()

    with pytest.raises(oss2.exceptions.NoSuchCors):
        bucket.get_bucket_cors()
    bucket.put_bucket_cors(oss2.models.BucketCors([
        oss2.models.CorsRule(allowed_origins=["*"], allowed_methods=["GET"])]))
    assert bucket.get_bucket_cors().rules[0].allowed_methods == ["GET"]
    with pytest.raises(oss2.exceptions.NoSuchWebsite):
        bucket.get_bucket_website()
    bucket.put_bucket_website(oss2.models.BucketWebsite("index.html", "error.html"))
    assert bucket.get_bucket_website().index_file == "index.html"


def test_oss_keeps_inventories_and_the_public_access_block(emulator):
    client = oss_v2_client(emulator)
    configuration = oss.InventoryConfiguration(
        id="weekly", is_enabled=True, schedule=oss.InventorySchedule(frequency="Weekly"),
        included_object_versions="Current",
        destination=oss.InventoryDestination(oss_bucket_destination=oss.InventoryOSSBucketDestination(
            format="CSV", bucket="acs:oss:::bkt", account_id="1", role_arn="acs:ram::1:role/r")))
    client.put_bucket_inventory(oss.PutBucketInventoryRequest(
        bucket="bkt", inventory_id="weekly", inventory_configuration=configuration))
    got = client.get_bucket_inventory(oss.GetBucketInventoryRequest(bucket="bkt", inventory_id="weekly"))
    assert got.inventory_configuration.schedule.frequency == "Weekly"
    client.put_bucket_public_access_block(oss.PutBucketPublicAccessBlockRequest(
        bucket="bkt", public_access_block_configuration=oss.PublicAccessBlockConfiguration(block_public_access=True)))
    got = client.get_bucket_public_access_block(oss.GetBucketPublicAccessBlockRequest(bucket="bkt"))
    assert got.public_access_block_configuration.block_public_access is True
