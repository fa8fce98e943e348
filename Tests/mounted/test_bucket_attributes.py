"""`user.thaw.bucket.NAME`: a bucket's configurations as attributes of its directory."""

import errno
import os

import pytest

from support.archive import s3_client
from support.mount import Mount, wait_until
from support.reader import run

pytestmark = pytest.mark.without("oas", why="a vault has no configurations")

CORS = (b"<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod></CORSRule>"
        b"</CORSConfiguration>")
NAME = "user.thaw.bucket."
UNOFFERED = {"oss": "object-lock", "s3": "protection", "cos": "archive-direct-read"}


def refusal(call, *arguments):
    with pytest.raises(OSError) as caught:
        call(*arguments)
    return errno.errorcode[caught.value.errno]


@pytest.mark.parametrize("source, directory", [("bkt", "."), ("", "bkt")])
def test_a_configuration_is_an_attribute_of_the_buckets_directory(emulator, dialect, tmp_path, source, directory):
    with Mount(emulator, f"{dialect}://{source}", tmp_path) as mount:
        bucket = mount.path / directory
        assert refusal(os.getxattr, bucket, NAME + "cors") == "ENODATA"
        os.setxattr(bucket, NAME + "cors", CORS)
        assert os.getxattr(bucket, NAME + "cors") == CORS
        rules = s3_client(emulator).get_bucket_cors(Bucket="bkt")["CORSRules"]
        assert rules == [{"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}]
        assert NAME not in run("getfattr", "--absolute-names", "-d", "-m", "-", bucket).stdout
        os.removexattr(bucket, NAME + "cors")
        assert refusal(os.getxattr, bucket, NAME + "cors") == "ENODATA"
        assert b"LocationConstraint" in os.getxattr(bucket, NAME + "location")


def test_what_cannot_be_configured_says_why(emulator, dialect, tmp_path):
    s3_client(emulator).put_object(Bucket="bkt", Key="dir/file", Body=b"content")
    with Mount(emulator, f"{dialect}://bkt", tmp_path) as mount:
        assert refusal(os.getxattr, mount.path / "dir", NAME + "cors") == "ENODATA"
        assert refusal(os.setxattr, mount.path / "dir/file", NAME + "cors", CORS) == "ENOTSUP"
        assert refusal(os.getxattr, mount.path, NAME + UNOFFERED[dialect]) == "ENOTSUP"
        assert refusal(os.setxattr, mount.path, NAME + "location", b"<LocationConstraint/>") == "ENOTSUP"
        assert refusal(os.setxattr, mount.path, NAME + "cors", b"<CORSConfiguration/>") == "EINVAL"
        emulator.fault({"status": 403, "code": "AccessDenied"}, op="PutBucketConfiguration")
        assert refusal(os.setxattr, mount.path, NAME + "cors", CORS) == "EACCES"
        wait_until(lambda: "AccessDenied" in mount.log(), "the log to say so")
        assert f"user.thaw.bucket.{UNOFFERED[dialect]} of {dialect}://bkt" in mount.log()
        assert "cors: it has no <CORSRule>" in mount.log()


def test_a_configuration_too_long_for_an_attribute_names_the_command(emulator, dialect, tmp_path):
    rule = "<Rule><ID>{}</ID><Filter><Prefix>{}/</Prefix></Filter><Status>Enabled</Status>" \
           "<Expiration><Days>60</Days></Expiration></Rule>"
    rules = "".join(rule.format(number, "p" * 20) for number in range(900))
    file = tmp_path / "lifecycle.xml"
    file.write_text(f"<LifecycleConfiguration>{rules}</LifecycleConfiguration>")
    with Mount(emulator, f"{dialect}://bkt", tmp_path) as mount:
        bucket = f"{dialect}://bkt"
        done = run(*bucket_command(emulator, mount, "config", "put", bucket, "lifecycle", file), env=mount.env)
        assert done.returncode == 0, done.stderr
        assert refusal(os.getxattr, mount.path, NAME + "lifecycle") == "E2BIG"
        wait_until(lambda: f"thawfs bucket config get {bucket} lifecycle" in mount.log(), "the advice")
        done = run(*bucket_command(emulator, mount, "config", "get", bucket, "lifecycle"), env=mount.env)
        assert done.stdout == file.read_text() + "\n"


def bucket_command(emulator, mount, *arguments):
    return [mount.command()[0], "bucket", *arguments, "-o", f"endpoint={emulator.url},region={mount.options['region']}"]


def test_a_mount_that_only_reads_changes_no_configuration(emulator, dialect, tmp_path):
    s3_client(emulator).put_bucket_cors(
        Bucket="bkt", CORSConfiguration={"CORSRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}]})
    with Mount(emulator, f"{dialect}://bkt", tmp_path, options={"ro": None}) as mount:
        assert b"AllowedOrigin" in os.getxattr(mount.path, NAME + "cors")
        assert refusal(os.removexattr, mount.path, NAME + "cors") == "EROFS"
        assert refusal(os.setxattr, mount.path, NAME + "cors", CORS) == "EROFS"
