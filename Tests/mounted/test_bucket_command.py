"""`thawfs bucket`: buckets, their configurations and their unended uploads, from the command line."""

import json

import pytest

from support.archive import s3_client
from support.command import thawfs
from support.mount import environment

pytestmark = pytest.mark.without("oas", why="a vault has no configurations")

LIFECYCLE = (b'<LifecycleConfiguration><Rule><ID>old</ID><Filter><Prefix>logs/</Prefix></Filter>'
             b'<Status>Enabled</Status><Expiration><Days>60</Days></Expiration></Rule></LifecycleConfiguration>')


UNOFFERED = {"oss": "object-lock", "s3": "protection", "cos": "archive-direct-read"}


@pytest.fixture
def bucket(emulator, dialect, tmp_path):
    """Runs `thawfs bucket …` in the dialect of the test."""
    region = {"oss": "cn-hangzhou", "s3": "us-east-1", "cos": "us-south"}[dialect]

    def run(*arguments, **options):
        return thawfs("bucket", *arguments, "--endpoint", emulator.url, "--region", region,
                      env=environment(dialect), **options)
    return run


def document(done):
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def names(emulator):
    return sorted(bucket["Name"] for bucket in s3_client(emulator).list_buckets()["Buckets"])


def test_buckets_are_created_listed_shown_and_deleted(emulator, bucket, dialect):
    done = bucket("create", f"{dialect}://made")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert names(emulator) == ["bkt", "made"]
    assert [line.split()[0] for line in bucket("list", f"{dialect}://").stdout.splitlines()] == ["bkt", "made"]
    listed = document(bucket("list", f"{dialect}://", "--json"))["buckets"]
    assert [entry["name"] for entry in listed] == ["bkt", "made"]
    info = document(bucket("info", f"{dialect}://made", "--json"))
    assert info["location"] == {"oss": "oss-cn-hangzhou", "s3": "us-east-1", "cos": "us-south-standard"}[dialect]
    assert info["configurations"]["lifecycle"] == "none"
    assert info["configurations"]["archive-direct-read"] == ("none" if dialect == "oss" else "not offered")
    again = bucket("create", f"{dialect}://made")
    # To OSS the second creation is the first.
    assert again.returncode == (0 if dialect == "oss" else 1)
    s3_client(emulator).put_object(Bucket="made", Key="k", Body=b"content")
    refused = bucket("delete", f"{dialect}://made")
    assert refused.returncode == 1
    assert "BucketNotEmpty" in refused.stderr and "HTTP 409" in refused.stderr and "request id THAW" in refused.stderr
    s3_client(emulator).delete_object(Bucket="made", Key="k")
    assert document(bucket("delete", f"{dialect}://made", "--json")) == {"deleted": "made"}
    assert names(emulator) == ["bkt"]


def test_a_configuration_is_put_got_and_removed(emulator, bucket, dialect, tmp_path):
    source = f"{dialect}://bkt"
    missing = bucket("config", "get", source, "lifecycle")
    assert missing.returncode == 1 and "NoSuchLifecycle" in missing.stderr
    file = tmp_path / "lifecycle.xml"
    file.write_bytes(LIFECYCLE)
    assert bucket("config", "put", source, "lifecycle", file).returncode == 0
    assert bucket("config", "get", source, "lifecycle").stdout == LIFECYCLE.decode() + "\n"
    assert document(bucket("config", "get", source, "lifecycle", "--json"))["configuration"] == LIFECYCLE.decode()
    assert document(bucket("info", source, "--json"))["configurations"]["lifecycle"] == "set"
    assert bucket("config", "rm", source, "lifecycle").returncode == 0
    assert bucket("config", "get", source, "lifecycle").returncode == 1
    unoffered = bucket("config", "get", source, UNOFFERED[dialect])
    assert unoffered.returncode == 1 and f"{UNOFFERED[dialect]} is not offered by" in unoffered.stderr
    counts = emulator.requests()["counts"]
    file.write_bytes(b"<CORSConfiguration/>")
    wrong = bucket("config", "put", source, "lifecycle", file)
    assert wrong.returncode == 1
    assert "<CORSConfiguration> where <LifecycleConfiguration> is expected" in wrong.stderr
    assert emulator.requests()["counts"] == counts


def test_uploads_that_nobody_ended_are_listed_and_aborted(emulator, bucket, dialect):
    source = f"{dialect}://bkt"
    client = s3_client(emulator)
    keys = ["dir/a b", "dir/c", "d"]
    begun = {key: client.create_multipart_upload(Bucket="bkt", Key=key)["UploadId"] for key in keys}
    listed = document(bucket("uploads", source, "--json"))["uploads"]
    assert {entry["key"]: entry["id"] for entry in listed} == begun
    assert bucket("abort", source, "--key", "d", "--id", begun["d"]).returncode == 0
    assert document(bucket("abort", source, "--older-than", "1d", "--yes", "--json"))["aborted"] == []
    asked = bucket("abort", source, "--older-than", "0s", "--prefix", "dir/")
    assert asked.returncode == 1 and "nothing was aborted; with --yes these 2 are" in asked.stderr
    assert len(client.list_multipart_uploads(Bucket="bkt")["Uploads"]) == 2
    done = bucket("abort", source, "--older-than", "0s", "--prefix", "dir/", "--yes")
    assert done.returncode == 0, done.stderr
    assert "Uploads" not in client.list_multipart_uploads(Bucket="bkt")


@pytest.mark.parametrize("dialect", ["cos"], indirect=True)
def test_a_bucket_of_ibm_has_a_class_a_root_key_and_backup_policies(emulator, bucket, dialect, tmp_path):
    key = "crn:v1:bluemix:public:kms:us-south:a/acc:inst:key:1"
    assert bucket("create", "cos://odd", "--storage-class", "tepid").returncode == 1
    done = bucket("create", "cos://made", "--storage-class", "vault", "--kp-crn", key, "--object-lock")
    assert done.returncode == 0, done.stderr
    info = document(bucket("info", "cos://made", "--json"))
    assert (info["location"], info["storage_class"], info["root_key"]) == ("us-south-vault", "vault", key)
    assert (info["versioning"], info["configurations"]["object-lock"]) == ("Enabled", "set")
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps({
        "policy_name": "nightly", "initial_retention": {"delete_after_days": 10}, "backup_type": "continuous",
        "target_backup_vault_crn": "crn:v1:x"}))
    made = bucket("config", "put", "cos://made", "backup-policies", policy)
    assert made.returncode == 0, made.stderr
    name = f"backup-policies.{json.loads(made.stdout)['policy_id']}"
    assert json.loads(bucket("config", "get", "cos://made", name).stdout)["policy_status"] == "active"
    assert bucket("config", "rm", "cos://made", "backup-policies").returncode == 1
    assert bucket("config", "rm", "cos://made", name).returncode == 0
    assert json.loads(bucket("config", "get", "cos://made", "backup-policies").stdout) == []
