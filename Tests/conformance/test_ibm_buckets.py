"""Buckets of IBM Cloud Object Storage as its own SDK creates and configures them, and its backup policies."""

import json
import urllib.error
import urllib.request

import ibm_botocore.exceptions
import pytest

from support.cos import INSTANCE, cos_client

ROOT_KEY = "crn:v1:bluemix:public:kms:us-south:a/acc:inst:key:1"
POLICY = {
    "policy_name": "nightly", "initial_retention": {"delete_after_days": 10}, "backup_type": "continuous",
    "target_backup_vault_crn": "crn:v1:bluemix:public:cloud-object-storage:global:acc:inst:backup-vault:v"}


def refused(call, **arguments):
    with pytest.raises(ibm_botocore.exceptions.ClientError) as caught:
        call(**arguments)
    response = caught.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]


@pytest.fixture
def client(emulator):
    return cos_client(emulator, iam=True)


def test_a_bucket_has_the_class_and_the_root_key_it_was_created_with(client):
    client.create_bucket(
        Bucket="vaulted", CreateBucketConfiguration={"LocationConstraint": "us-south-vault"},
        IBMSSEKPEncryptionAlgorithm="AES256", IBMSSEKPCustomerRootKeyCrn=ROOT_KEY)
    listed = client.list_buckets_extended(IBMServiceInstanceId=INSTANCE)["Buckets"]
    places = {entry["Name"]: entry["LocationConstraint"] for entry in listed}
    assert places == {"bkt": "us-south-standard", "vaulted": "us-south-vault"}
    head = client.head_bucket(Bucket="vaulted")
    assert (head["IBMSSEKPEnabled"], head["IBMSSEKPCrkId"]) == (True, ROOT_KEY)
    assert refused(client.create_bucket, Bucket="odd", CreateBucketConfiguration={"LocationConstraint": "us-south"}) \
        == (400, "InvalidLocationConstraint")
    assert refused(client.create_bucket, Bucket="vaulted") == (409, "BucketAlreadyExists")


def test_one_rule_archives_the_whole_bucket(client):
    def rule(name, prefix=""):
        return {"ID": name, "Status": "Enabled", "Filter": {"Prefix": prefix},
                "Transitions": [{"Days": 20, "StorageClass": "GLACIER"}]}
    assert refused(client.get_bucket_lifecycle_configuration, Bucket="bkt") == (404, "NoSuchLifecycleConfiguration")
    put = client.put_bucket_lifecycle_configuration
    for rules in ([rule("a", "logs/")], [rule("a"), rule("b")]):
        assert refused(put, Bucket="bkt", LifecycleConfiguration={"Rules": rules}) == (400, "MalformedXML")
    put(Bucket="bkt", LifecycleConfiguration={"Rules": [rule("a")]})
    assert client.get_bucket_lifecycle_configuration(Bucket="bkt")["Rules"][0]["ID"] == "a"
    client.delete_bucket_lifecycle(Bucket="bkt")


def test_retention_is_for_buckets_without_objects(client):
    policy = {"Status": "Retention", "MinimumRetention": {"Days": 1}, "DefaultRetention": {"Days": 2},
              "MaximumRetention": {"Days": 3}}
    client.put_object(Bucket="bkt", Key="k", Body=b"content")
    get, put = client.get_bucket_protection_configuration, client.put_bucket_protection_configuration
    assert get(Bucket="bkt")["ProtectionConfiguration"]["Status"] == "Disabled"
    assert refused(put, Bucket="bkt", ProtectionConfiguration=policy) == (409, "InvalidBucketState")
    client.delete_object(Bucket="bkt", Key="k")
    put(Bucket="bkt", ProtectionConfiguration=policy)
    assert get(Bucket="bkt")["ProtectionConfiguration"]["DefaultRetention"] == {"Days": 2}


def test_backup_policies_are_kept_at_a_path_of_their_own(emulator, client):
    token = client._request_signer._credentials.get_frozen_credentials().token

    def ask(method, path, body=None):
        request = urllib.request.Request(
            f"{emulator.url}/buckets/{path}", method=method, data=body and json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as reply:
            text = reply.read()
            return json.loads(text) if text else None

    made = ask("POST", "bkt/backup_policies", POLICY)
    assert made["policy_status"] == "pending" and POLICY.items() <= made.items()
    path = f"bkt/backup_policies/{made['policy_id']}"
    assert ask("GET", path)["policy_name"] == "nightly"
    assert [policy["policy_id"] for policy in ask("GET", "bkt/backup_policies")] == [made["policy_id"]]
    assert ask("DELETE", path) is None
    assert ask("GET", "bkt/backup_policies") == []
    with pytest.raises(urllib.error.HTTPError) as caught:
        ask("GET", path)
    assert caught.value.code == 404
