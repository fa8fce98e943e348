"""IBM's own SDK, pointed at an emulator."""

import ibm_boto3
from ibm_botocore.client import Config

INSTANCE = "crn:v1:bluemix:public:cloud-object-storage:global:a/acc:inst::"


def cos_client(emulator, iam=False, key=None, instance=INSTANCE, region="us-standard"):
    """A client with HMAC keys, or with an API key that it exchanges for tokens; without its retries."""
    settings = {"signature_version": "oauth" if iam else "s3v4", "s3": {"addressing_style": "path"},
                "retries": {"total_max_attempts": 1}}
    if iam:
        who = {"ibm_api_key_id": key or emulator.SECRET_KEY, "ibm_service_instance_id": instance,
               "ibm_auth_endpoint": f"{emulator.url}/identity/token"}
    else:
        who = {"aws_access_key_id": key or emulator.ACCESS_KEY, "aws_secret_access_key": emulator.SECRET_KEY}
    return ibm_boto3.client("s3", endpoint_url=emulator.url, region_name=region, config=Config(**settings), **who)
