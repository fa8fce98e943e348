"""Faults strike the requests they name, as often as they say."""

import time
import urllib.error
import urllib.request

import botocore.exceptions
import botocore.parsers
import oss2
import pytest

from clients import oss2_bucket, s3_client, s3_error
from support.waiting import wait_until


@pytest.fixture
def client(emulator):
    client = s3_client(emulator)
    client.put_object(Bucket="bkt", Key="dir/k", Body=b"0123456789" * 1000)
    return client


def refused(call):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call()
    return s3_error(caught)


@pytest.mark.parametrize("status, code", [(429, "QpsLimitExceeded"), (500, "InternalError"), (503, "SlowDown")])
def test_errors_strike_n_times(emulator, client, status, code):
    emulator.fault({"status": status, "retry_after": 3}, op="GetObject", key="dir/*", times=2)
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        client.get_object(Bucket="bkt", Key="dir/k")
    assert s3_error(caught) == (status, code)
    assert caught.value.response["ResponseMetadata"]["HTTPHeaders"]["retry-after"] == "3"
    client.head_object(Bucket="bkt", Key="dir/k")
    assert refused(lambda: client.get_object(Bucket="bkt", Key="dir/k")) == (status, code)
    client.get_object(Bucket="bkt", Key="dir/k")


def test_faults_can_be_of_one_dialect(emulator, client):
    emulator.fault({"status": 503}, dialect="oss")
    client.get_object(Bucket="bkt", Key="dir/k")
    with pytest.raises(oss2.exceptions.ServerError) as caught:
        oss2_bucket(emulator).get_object("dir/k")
    assert caught.value.status == 503
    emulator.clear_faults()
    oss2_bucket(emulator).get_object("dir/k")


def test_a_cut_body(emulator, client):
    emulator.fault({"cut_body": 100}, op="GetObject", times=1)
    with pytest.raises((botocore.exceptions.IncompleteReadError, botocore.exceptions.ResponseStreamingError)):
        client.get_object(Bucket="bkt", Key="dir/k")["Body"].read()
    assert len(client.get_object(Bucket="bkt", Key="dir/k")["Body"].read()) == 10_000


def test_a_wrong_length(emulator, client):
    emulator.fault({"wrong_length": 5}, op="GetObject", times=1)
    reply = client.get_object(Bucket="bkt", Key="dir/k")
    assert reply["ContentLength"] == 10_005
    with pytest.raises((botocore.exceptions.IncompleteReadError, botocore.exceptions.ResponseStreamingError)):
        reply["Body"].read()


def test_malformed_xml(emulator, client):
    emulator.fault({"malformed_xml": True}, op="ListObjectsV2", times=1)
    emulator.clear_requests()
    with pytest.raises((botocore.exceptions.ClientError, botocore.parsers.ResponseParserError)):
        client.list_objects_v2(Bucket="bkt")
    assert [line["status"] for line in emulator.requests()["requests"]] == [200]
    assert client.list_objects_v2(Bucket="bkt")["KeyCount"] == 1


def test_a_listing_that_loops(emulator, client):
    emulator.fault({"listing_loop": True})
    first = client.list_objects_v2(Bucket="bkt")
    second = client.list_objects_v2(Bucket="bkt", ContinuationToken=first["NextContinuationToken"])
    assert second["NextContinuationToken"] == first["NextContinuationToken"]
    assert [entry["Key"] for entry in second["Contents"]] == ["dir/k"]


def test_success_with_an_error_for_a_body(emulator, client):
    emulator.fault({"error_body": "InternalError"}, op="ListObjectsV2", times=1)
    bucket = oss2_bucket(emulator)
    emulator.fault({"error_body": "InternalError"}, op="GetObject", times=1)
    got = bucket.get_object("dir/k")
    assert got.status == 200 and b"<Code>InternalError</Code>" in got.read()


def test_delays_and_bandwidth(emulator, client):
    def seconds(call):
        begun = time.monotonic()
        call()
        return time.monotonic() - begun

    def get():
        return client.get_object(Bucket="bkt", Key="dir/k")["Body"].read()

    emulator.fault({"latency_ms": 300}, op="GetObject", times=1)
    assert seconds(get) >= 0.3
    emulator.fault({"slow_first_byte_ms": 300}, op="GetObject", times=1)
    assert seconds(get) >= 0.3
    emulator.fault({"bandwidth": 20_000}, op="GetObject", times=1)
    assert seconds(get) >= 0.4
    assert len(get()) == 10_000


def test_misspelt_faults_are_refused(emulator):
    for effect in ({"statsu": 503}, {}, {"status": 200}):
        with pytest.raises(AssertionError):
            emulator.fault(effect)
    with pytest.raises(AssertionError):
        emulator.fault({"status": 503}, operation="GetObject")


def test_the_request_log(emulator, client):
    emulator.clear_requests()
    client.get_object(Bucket="bkt", Key="dir/k", Range="bytes=0-99")["Body"].read()
    refused(lambda: client.get_object(Bucket="bkt", Key="none"))
    log = emulator.requests()
    assert log["counts"] == {"GetObject": 2}
    assert [(line["op"], line["key"], line["range"], line["status"]) for line in log["requests"]] == [
        ("GetObject", "dir/k", "bytes=0-99", 206), ("GetObject", "none", None, 404)]
    assert log["bytes_out"] >= 100


def test_bytes_that_nobody_takes_are_not_counted(emulator, client):
    size = 256 << 20
    emulator.seed("bkt", prefix="large/", size=size)
    emulator.clear_requests()
    body = client.get_object(Bucket="bkt", Key="large/00000000")["Body"]
    assert len(body.read(1000)) == 1000
    assert emulator.requests()["bytes_out"] == size
    body.close()

    def sent():
        log = emulator.requests()
        assert log["bytes_out"] == log["requests"][0]["bytes_out"]
        return log["bytes_out"]

    wait_until(lambda: 1000 <= sent() < size // 2, "the rest to be taken back")


def test_the_clock(emulator):
    before = emulator.clock()
    assert before["scale"] == 1
    after = emulator.advance("1d12h")
    assert 36 * 3600 - 1 < after["ahead_seconds"] - before["ahead_seconds"] < 36 * 3600 + 1
    assert emulator.set_scale(3600)["scale"] == 3600
    for body in ({"advance": "soon"}, {"advance": -5}, {"scale": -1}):
        with pytest.raises(AssertionError):
            emulator.control("POST", "clock", body)


def test_nonsense_is_answered(emulator):
    for path in ("/%zz", "/_emulator/none"):
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(emulator.url + path, timeout=20)
        assert caught.value.code in (400, 404)


def test_a_lost_reply_follows_what_was_done(emulator):
    emulator.fault({"lose_reply": True}, op="PutObject", times=1)
    client = s3_client(emulator)
    with pytest.raises(botocore.exceptions.ConnectionClosedError):
        client.put_object(Bucket="bkt", Key="k", Body=b"content")
    assert client.get_object(Bucket="bkt", Key="k")["Body"].read() == b"content"


def test_an_upload_that_changes_on_the_way_is_noticed(emulator):
    emulator.fault({"corrupt": True}, op="PutObject", times=2)
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        s3_client(emulator).put_object(Bucket="bkt", Key="k", Body=b"content")
    # boto3 signs the body's digest over http.
    assert s3_error(caught) == (400, "XAmzContentSHA256Mismatch")
    with pytest.raises(oss2.exceptions.InconsistentError):
        oss2_bucket(emulator).put_object("k", b"content")


def test_an_upload_is_slowed_down_and_arrives(emulator):
    emulator.fault({"upload_bandwidth": 2_000_000}, op="PutObject")
    oss2_bucket(emulator).put_object("k", b"x" * 500_000)
    assert oss2_bucket(emulator).get_object("k").read() == b"x" * 500_000
