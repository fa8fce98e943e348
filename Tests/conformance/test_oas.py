"""The emulator's OAS dialect, asked by a client of our own: signatures and tree-etags by the published vectors, vaults,
archives, parts, jobs and their output, errors, what survives a restart.
"""

import email.utils

import pytest

from support.archive import s3_client
from support.emulator import Emulator
from support.vaults import BLOCK, OAS, OASError, signature, tree_etag

DATE = "Tue, 25 Mar 2014 12:00:00 GMT"
VERSION = {"x-oas-version": "0.2.5"}
HELLO = "5D41402ABC4B2A76B9719D911017C592"
PART = 64 * BLOCK


@pytest.fixture
def oas(emulator):
    return OAS(emulator)


@pytest.fixture
def vault(oas):
    return oas.create_vault("myvault")


def refusal(call, *arguments, **names):
    with pytest.raises(OASError) as caught:
        call(*arguments, **names)
    return caught.value.status, caught.value.code


def test_the_client_signs_by_the_vectors():
    etags = {"x-oas-content-etag": HELLO, "x-oas-tree-etag": HELLO}
    assert signature("testsecret", "PUT", "/vaults/myvault", DATE, VERSION) == "OJix4jps/BVRoaej9w7kfqlpEaE="
    assert signature("testsecret", "GET", "/vaults", DATE, VERSION, {"marker": "ABC", "limit": "10"}) \
        == "hA7zLSx8UoFzoq5zjmxwm2ARI2k="
    assert signature("testsecret", "POST", "/vaults/VID/jobs", DATE, VERSION) == "WcObrXVs7Vfr7MJ0DedEydVFpTo="
    assert signature("testsecret", "PUT", "/vaults/VID/multipart-uploads/UID", DATE, VERSION | etags) \
        == "4UI5vunwHc+80pCxfOwUzS/GHTU="
    assert tree_etag(b"hello") == HELLO
    assert tree_etag(b"a" * BLOCK + b"b" * BLOCK + b"c" * BLOCK + b"hello") == "16A46F3F797A203922DA7DDED69B599B"
    assert tree_etag(bytes(5 * BLOCK)) == "E8849C75E6654891CFD18207B76D96FC"


def test_who_may_not_ask_is_refused(emulator):
    assert refusal(OAS(emulator, secret="wrong").vaults) == (403, "SignatureDoesNotMatch")
    assert refusal(OAS(emulator, key="nobody").vaults) == (403, "InvalidAccessKeyId")
    late = email.utils.formatdate(0, usegmt=True)
    assert refusal(OAS(emulator).request, "GET", "/vaults", date=late)[0] == 403


def test_vaults_are_created_listed_in_pages_and_deleted(oas):
    ids = {oas.create_vault(f"vault-{number}") for number in range(10)}
    assert len(ids) == 10
    assert oas.create_vault("vault-3") in ids
    assert refusal(oas.create_vault, "one-too-many") == (403, "TooManyVaults")
    assert refusal(oas.create_vault, "No") == (400, "InvalidVaultName")
    first = oas.vaults(limit=4)
    second = oas.vaults(limit=10, marker=first["Marker"])
    listed = [vault["VaultId"] for vault in first["VaultList"] + second["VaultList"]]
    assert (len(first["VaultList"]), second["Marker"]) == (4, "")
    assert listed == sorted(ids)
    assert oas.delete_vault(listed[0]).status == 204
    assert refusal(oas.vault, listed[0]) == (404, "VaultNotExists")


def test_an_archive_is_stored_with_its_etags_or_not_at_all(oas, vault):
    data = b"a" * BLOCK + b"hello"
    archive = oas.upload(vault, data, "a description")
    meta = oas.meta(vault, archive)
    assert (meta["ArchiveSizeInBytes"], meta["ArchiveDescription"]) == (len(data), "a description")
    assert refusal(oas.upload, vault, data, **{"x-oas-tree-etag": HELLO}) == (400, "InvalidDigest")
    assert refusal(oas.upload, vault, data, "d" * 129) == (400, "InvalidArgument")
    assert refusal(oas.upload, vault, b"") == (400, "InvalidArgument")
    assert refusal(oas.delete_vault, vault) == (409, "VaultNotEmpty")
    oas.delete(vault, archive)
    assert refusal(oas.delete, vault, archive) == (404, "ArchiveNotExists")


def test_parts_make_an_archive(oas, vault, emulator):
    data = b"x" * PART + b"rest"
    upload = oas.begin_upload(vault, PART, "in parts")
    oas.upload_part(vault, upload, PART, data[PART:])
    oas.upload_part(vault, upload, 0, b"y" * PART)
    oas.upload_part(vault, upload, 0, data[:PART])
    assert refusal(oas.upload_part, vault, upload, BLOCK, b"z") == (400, "InvalidPart")
    assert [part["RangeInBytes"] for part in oas.parts(vault, upload)["Parts"]] \
        == [f"0-{PART - 1}", f"{PART}-{PART + 3}"]
    assert refusal(oas.complete_upload, vault, upload, len(data), HELLO) == (400, "InvalidDigest")
    archive = oas.complete_upload(vault, upload, len(data), tree_etag(data))
    assert oas.content(vault, archive, emulator) == data
    assert refusal(oas.parts, vault, upload) == (404, "UploadIdNotExists")
    other = oas.begin_upload(vault, PART)
    oas.abort_upload(vault, other)
    assert oas.uploads(vault) == []
    assert refusal(oas.begin_upload, vault, BLOCK) == (400, "InvalidArgument")


def test_an_archive_is_read_by_a_job_of_four_hours_whose_output_lasts_a_day(oas, vault, emulator):
    data = b"a" * BLOCK + b"b" * BLOCK + b"c" * BLOCK + b"hello"
    archive = oas.upload(vault, data)
    job = oas.retrieve(vault, archive, Description="x")
    assert oas.job(vault, job)["StatusCode"] == "InProgress"
    assert refusal(oas.output, vault, job) == (400, "JobNotReady")
    emulator.advance("4h")
    told = oas.job(vault, job)
    assert (told["Completed"], told["StatusCode"], told["TreeEtag"]) == (True, "Succeeded", tree_etag(data))
    whole = oas.output(vault, job)
    assert (whole.status, whole.body, whole.headers["x-oas-tree-etag"]) == (200, data, tree_etag(data))
    part = oas.output(vault, job, f"{2 * BLOCK}-{len(data) - 1}")
    assert (part.status, part.body) == (206, data[2 * BLOCK:])
    assert part.headers["content-range"] == f"bytes={2 * BLOCK}-{len(data) - 1}/{len(data)}"
    assert part.headers["x-oas-tree-etag"] == tree_etag(data[2 * BLOCK:])
    assert "x-oas-tree-etag" not in oas.output(vault, job, f"{BLOCK}-{3 * BLOCK - 1}").headers
    assert refusal(oas.output, vault, job, "1-5") == (413, "InvalidRange")
    emulator.advance("24h")
    assert refusal(oas.output, vault, job) == (404, "JobNotExists")
    assert oas.jobs(vault) == []


def test_a_job_of_a_range_has_that_range(oas, vault, emulator):
    data = b"a" * BLOCK + b"b" * BLOCK + b"tail"
    archive = oas.upload(vault, data)
    job = oas.retrieve(vault, archive, RetrievalByteRange=f"{BLOCK}-{2 * BLOCK - 1}")
    emulator.advance("4h")
    assert oas.output(vault, job).body == b"b" * BLOCK
    assert refusal(oas.retrieve, vault, archive, RetrievalByteRange="5-6") == (413, "InvalidRange")
    assert refusal(oas.retrieve, vault, "none") == (404, "ArchiveNotExists")


def test_an_inventory_lists_what_was_there_when_it_was_asked_for(oas, vault, emulator):
    first = oas.upload(vault, b"one", "first")
    assert oas.vault(vault)["NumberOfArchives"] == 0
    job = oas.start(vault, Type="inventory-retrieval")
    oas.upload(vault, b"two", "second")
    emulator.advance("4h")
    inventory = oas.output(vault, job).json
    assert inventory["VaultId"] == vault
    [listed] = inventory["ArchiveList"]
    assert (listed["ArchiveId"], listed["ArchiveDescription"], listed["Size"]) == (first, "first", 3)
    assert listed["TreeEtag"] == tree_etag(b"one")
    assert oas.vault(vault)["NumberOfArchives"] == 1


def test_objects_go_to_oss_and_come_from_there(oas, vault, emulator):
    s3 = s3_client(emulator)
    s3.put_object(Bucket="bkt", Key="source", Body=b"from the bucket")
    place = {"OSSHost": "oss-cn-hangzhou-internal.aliyuncs.com", "Bucket": "bkt"}
    pull = oas.start(vault, Type="pull-from-oss", Object="source", Description="pulled", **place)
    missing = oas.start(vault, Type="pull-from-oss", Object="missing", **place)
    emulator.advance("1h")
    archive = oas.job(vault, pull)["ArchiveId"]
    assert oas.meta(vault, archive)["ArchiveDescription"] == "pulled"
    assert oas.job(vault, missing)["StatusCode"] == "Failed"
    push = oas.start(vault, Type="push-to-oss", ArchiveId=archive, Object="target", **place)
    emulator.advance("4h")
    assert oas.job(vault, push)["StatusCode"] == "Succeeded"
    assert refusal(oas.output, vault, push) == (400, "JobNoOutput")
    assert s3.get_object(Bucket="bkt", Key="target")["Body"].read() == b"from the bucket"


def test_a_job_can_be_made_to_fail(oas, vault, emulator):
    archive = oas.upload(vault, b"content")
    emulator.fault({"restore_fails": True}, op="CreateJob", times=1)
    job = oas.retrieve(vault, archive)
    assert oas.job(vault, job)["StatusCode"] == "InProgress"
    emulator.advance("4h")
    assert oas.job(vault, job)["StatusCode"] == "Failed"


def test_vaults_and_jobs_survive_a_restart(tmp_path):
    with Emulator(data=tmp_path) as emulator:
        oas = OAS(emulator)
        vault = oas.create_vault("kept")
        archive = oas.upload(vault, b"kept content", "kept")
        job = oas.retrieve(vault, archive)
        emulator.advance("4h")
    with Emulator(data=tmp_path) as emulator:
        oas = OAS(emulator)
        assert oas.output(vault, job).body == b"kept content"
        assert oas.meta(vault, archive)["ArchiveDescription"] == "kept"
