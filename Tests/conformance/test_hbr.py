"""Cloud Backup, asked by the vendor's own SDKs: the current one signs with ACS3, the core one with HMAC-SHA1."""

import json

import pytest
from alibabacloud_hbr20170908 import models
from alibabacloud_hbr20170908.client import Client
from alibabacloud_tea_openapi.utils_models import Config
from aliyunsdkcore.acs_exception.exceptions import ServerException
from aliyunsdkcore.client import AcsClient
from aliyunsdkcore.request import RpcRequest
from darabonba.exceptions import DaraException

from clients import oss2_bucket

FILES = [{"path": "/a b.txt", "content": "first"}, {"path": "/d/中.txt", "content": "second"},
         {"path": "/d/c", "size": 9}]


@pytest.fixture
def vault(emulator):
    emulator.set_scale(0)
    emulator.backup("v-1", {"id": "s-1", "origin": "source", "files": FILES, "duration": "100s"}, name="cold")
    return "v-1"


def hbr(emulator, secret=None, token=None):
    return Client(Config(
        access_key_id=emulator.ACCESS_KEY, access_key_secret=secret or emulator.SECRET_KEY, security_token=token,
        endpoint=emulator.host, protocol="http", region_id="cn-hangzhou"))


def rpc(emulator, action, secret=None, method="POST", body=(), **parameters):
    """One call with the core SDK's classic signature."""
    client = AcsClient(emulator.ACCESS_KEY, secret or emulator.SECRET_KEY, "cn-hangzhou", auto_retry=False)
    request = RpcRequest("hbr", "2017-09-08", action, "hbr")
    request.set_endpoint(emulator.host)
    request.set_protocol_type("http")
    request.set_method(method)
    request.set_accept_format("JSON")
    for name, value in parameters.items():
        request.add_query_param(name, value)
    for name, value in dict(body).items():
        request.add_body_params(name, value)
    return json.loads(client.do_action_with_exception(request))


def restore_request(**more):
    return models.CreateRestoreJobRequest(
        restore_type="OSS", source_type="OSS", vault_id="v-1", snapshot_id="s-1", target_bucket="bkt",
        target_prefix="p/", **more)


def jobs(client, key="VaultId", *values):
    wanted = models.DescribeRestoreJobs2RequestFilters(key=key, operator="IN", values=list(values) or ["v-1"])
    return client.describe_restore_jobs_2(
        models.DescribeRestoreJobs2Request(restore_type="OSS", filters=[wanted])).body.restore_jobs.restore_job


def test_the_sdk_finds_vaults_and_snapshots(emulator, vault):
    client = hbr(emulator)
    [found] = client.describe_vaults(models.DescribeVaultsRequest()).body.vaults.vault
    assert (found.vault_id, found.vault_name, found.bytes_done) == ("v-1", "cold", 20)
    query = [{"field": "VaultId", "value": vault, "operation": "MATCH_TERM"}]
    body = client.search_historical_snapshots(
        models.SearchHistoricalSnapshotsRequest(source_type="OSS", query=query, limit=10)).body
    [snapshot] = body.snapshots.snapshot
    assert (snapshot.snapshot_id, snapshot.bucket, snapshot.items_total) == ("s-1", "source", 3)


def test_a_job_goes_through_its_states_and_its_files_are_in_the_bucket(emulator, vault):
    client = hbr(emulator)
    body = client.create_restore_job(restore_request(include='["/a b.txt","/d"]', exclude='["/d/c"]')).body
    assert body.success and body.restore_id == "r-1"
    for span, status, progress in [("0s", "CREATED", 0), ("5s", "QUEUED", 0), ("55s", "RUNNING", 5000)]:
        emulator.advance(span)
        [job] = jobs(client)
        assert (job.status, job.progress, job.target_prefix) == (status, progress, "p/")
    emulator.advance("50s")
    # They are there for whoever asks the bucket before the service.
    bucket = oss2_bucket(emulator)
    assert [entry.key for entry in bucket.list_objects_v2(prefix="p/").object_list] == ["p/a b.txt", "p/d/中.txt"]
    assert bucket.get_object("p/d/中.txt").read() == b"second"
    [job] = jobs(client, "JobId", "r-1")
    assert (job.status, job.progress, job.items_total, job.bytes_done) == ("COMPLETE", 10000, 2, 11)


def test_a_job_can_be_cancelled_and_then_writes_nothing(emulator, vault):
    client = hbr(emulator)
    client.create_restore_job(restore_request())
    client.cancel_restore_job(models.CancelRestoreJobRequest(restore_id="r-1", vault_id="v-1"))
    assert jobs(client)[0].status == "CANCELING"
    emulator.advance("1h")
    assert jobs(client)[0].status == "CANCELED"
    assert oss2_bucket(emulator).list_objects_v2().object_list == []


def test_the_classic_signature_holds_for_query_and_form(emulator, vault):
    created = rpc(
        emulator, "CreateRestoreJob", RestoreType="OSS", SourceType="OSS", VaultId="v-1", SnapshotId="s-1",
        TargetBucket="bkt", TargetPrefix="", body={"Include": '["/a b.txt"]'})
    assert created["Success"] and created["RestoreId"] == "r-1"
    found = rpc(emulator, "DescribeRestoreJobs2", method="GET", RestoreType="OSS")
    assert [job["Include"] for job in found["RestoreJobs"]["RestoreJob"]] == ['["/a b.txt"]']


def test_wrong_signatures_and_tokens_are_refused_in_the_gateways_words(emulator, vault):
    for call in (lambda: rpc(emulator, "DescribeVaults", secret="wrong"),
                 lambda: hbr(emulator, secret="wrong").describe_vaults(models.DescribeVaultsRequest()),
                 lambda: hbr(emulator, token="nobody's").describe_vaults(models.DescribeVaultsRequest())):
        with pytest.raises((ServerException, DaraException)) as caught:
            call()
        code = getattr(caught.value, "error_code", None) or caught.value.code
        # The core SDK puts the first into words of its own when it finds that both have signed the same text.
        assert code in ("SignatureDoesNotMatch", "InvalidAccessKeySecret", "InvalidSecurityToken.Expired")


@pytest.mark.parametrize("change, code", [
    ({"vault_id": "v-2"}, "VaultNotExist"), ({"snapshot_id": "s-2"}, "ResourceNotFound"),
    ({"snapshot_hash": "wrong"}, "ResourceNotFound"), ({"target_bucket": "none"}, "ResourceNotFound"),
    ({"source_type": "NAS"}, "BadRequest"), ({"include": '["' + "a" * 252 + '"]'}, "BadRequest"),
    ({"target_prefix": None}, "MissingParameter"),
])
def test_what_cannot_be_restored_is_refused(emulator, vault, change, code):
    request = restore_request()
    for name, value in change.items():
        setattr(request, name, value)
    with pytest.raises(DaraException) as caught:
        hbr(emulator).create_restore_job(request)
    assert caught.value.code == code
    assert jobs(hbr(emulator)) == []


def test_faults_strike_these_operations_too(emulator, vault):
    emulator.fault({"status": 429, "code": "Throttling.User"}, op="DescribeVaults", times=1)
    with pytest.raises(ServerException) as caught:
        rpc(emulator, "DescribeVaults")
    assert (caught.value.http_status, caught.value.error_code) == (429, "Throttling.User")
    emulator.fault({"error_body": "InDebt"}, op="DescribeVaults", times=1)
    assert rpc(emulator, "DescribeVaults")["Success"] is False
    assert emulator.requests()["counts"]["DescribeVaults"] == 2
