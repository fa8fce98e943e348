"""The vendors' own SDKs, pointed at an emulator."""

import alibabacloud_oss_v2 as oss
import boto3
import oss2
from botocore.config import Config

OSS_REGION = "cn-hangzhou"


def oss2_bucket(emulator, bucket="bkt", version=4, key=None, secret=None, token=None, endpoint=None):
    """oss2, signature version 1 or 4; with a token, of an STS identity."""
    key = key or emulator.ACCESS_KEY
    secret = secret or emulator.SECRET_KEY
    if token:
        signature = oss2.AUTH_VERSION_4 if version == 4 else oss2.AUTH_VERSION_1
        auth = oss2.StsAuth(key, secret, token, auth_version=signature)
    else:
        auth = (oss2.AuthV4 if version == 4 else oss2.Auth)(key, secret)
    oss2.defaults.request_retries = 0
    return oss2.Bucket(auth, endpoint or emulator.url, bucket, region=OSS_REGION)


def oss_v2_client(emulator, token=None):
    """alibabacloud-oss-v2, signature version 4."""
    config = oss.config.load_default()
    config.credentials_provider = oss.credentials.StaticCredentialsProvider(
        emulator.ACCESS_KEY, emulator.SECRET_KEY, token)
    config.region = OSS_REGION
    config.endpoint = emulator.url
    config.use_path_style = True
    config.retry_max_attempts = 1
    return oss.Client(config)


def s3_client(emulator, key=None, secret=None, token=None, verify=None, endpoint=None, style="path"):
    """boto3, SigV4, without its retries."""
    return boto3.client(
        "s3", endpoint_url=endpoint or emulator.url, region_name="us-east-1",
        aws_access_key_id=key or emulator.ACCESS_KEY, aws_secret_access_key=secret or emulator.SECRET_KEY,
        aws_session_token=token, verify=verify,
        config=Config(signature_version="s3v4", s3={"addressing_style": style}, retries={"total_max_attempts": 1}))


def s3_error(caught):
    """Status and code of a botocore ClientError caught by pytest.raises."""
    response = caught.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]
