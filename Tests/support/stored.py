"""What a bucket holds, as its vendor's own client sees it: independent of what is under test."""

import oss2

from .archive import s3_client
from .cos import cos_client
from .model import digest
from .vaulted import undescribed


class S3Stored:
    """`client` may be a boto3 client of another store."""

    def __init__(self, emulator, bucket="bkt", client=None):
        self.client = client or s3_client(emulator)
        self.bucket = bucket

    def listed(self, prefix=""):
        """Pairs of a key and the MD5 that its ETag tells, or None."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return [(entry["Key"], entry["Size"], entry["ETag"].strip('"').lower())
                for page in pages for entry in page.get("Contents", [])]

    def content(self, key):
        return self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def metadata(self, key):
        """The user metadata, names without the vendor's prefix."""
        return self.client.head_object(Bucket=self.bucket, Key=key)["Metadata"]

    def storage_class(self, key):
        return self.client.head_object(Bucket=self.bucket, Key=key).get("StorageClass", "STANDARD")

    def uploads(self):
        """The keys of the multipart uploads under way."""
        found = self.client.list_multipart_uploads(Bucket=self.bucket)
        return [upload["Key"] for upload in found.get("Uploads", [])]

    def keys(self, prefix=""):
        return [key for key, _, _ in self.listed(prefix)]

    def tree(self, prefix=""):
        """By key without the prefix: `directory` for a marker, else the content's digest."""
        found = {}
        for key, size, etag in self.listed(prefix):
            name = key[len(prefix):]
            if name.endswith("/") and size == 0:
                found[name] = "directory"
            else:
                found[name] = digest(self.content(key)) if "-" in etag else f"{size} {etag}"
        found.pop("", None)
        return found


class OSSStored(S3Stored):
    def __init__(self, emulator, bucket="bkt"):
        auth = oss2.AuthV4(emulator.ACCESS_KEY, emulator.SECRET_KEY)
        self.client = oss2.Bucket(auth, emulator.url, bucket, region="cn-hangzhou", is_path_style=True)

    def listed(self, prefix=""):
        return [(entry.key, entry.size, entry.etag.lower())
                for entry in oss2.ObjectIteratorV2(self.client, prefix=prefix)]

    def content(self, key):
        return self.client.get_object(key).read()

    def metadata(self, key):
        prefix = "x-oss-meta-"
        return {name.lower()[len(prefix):]: value for name, value in self.client.head_object(key).headers.items()
                if name.lower().startswith(prefix)}

    def storage_class(self, key):
        return self.client.head_object(key).headers["x-oss-storage-class"]

    def uploads(self):
        return [upload.key for upload in oss2.MultipartUploadIterator(self.client)]


class COSStored(S3Stored):
    """As IBM's own SDK sees it."""

    def __init__(self, emulator, bucket="bkt"):
        super().__init__(emulator, bucket, cos_client(emulator))


class VaultStored:
    """A vault, by the paths of its archives."""

    def __init__(self, emulator, bucket="bkt"):
        self.vault = emulator.vault

    def keys(self, prefix=""):
        paths = (undescribed(description) for description, _ in self.vault.listed())
        return sorted(path for path in paths if path.startswith(prefix))


def stored(emulator, dialect, bucket="bkt"):
    return {"oss": OSSStored, "s3": S3Stored, "cos": COSStored, "oas": VaultStored}[dialect](emulator, bucket)
