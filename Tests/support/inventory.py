"""Inventory reports as the providers write them: a manifest, its checksum, and rows in gzip files.

    report = Report("bkt", "oss")
    report.add("a/b c", size=5, etag=etag)
    manifest = report.put(objects)
"""

import csv
import gzip
import hashlib
import io
import json
import time
import urllib.parse

# The fields, the unit of `creationTimestamp`, and what a blank in a key becomes.
FORMATS = {
    "s3": ("Bucket, Key, Size, LastModifiedDate, ETag, StorageClass", 1000, urllib.parse.quote_plus),
    "cos": ("Bucket, Key, Size, LastModifiedDate, ETag, StorageClass", 1000, urllib.parse.quote_plus),
    "oss": ("Bucket, Key, Size, StorageClass, LastModifiedDate, ETag, Crc64", 1, urllib.parse.quote),
}
MODIFIED = "2024-01-02T03:04:05.000Z"


def manifest(bucket, dialect, created, files):
    """`manifest.json` for files of (key, bytes, MD5 in hexadecimal digits)."""
    schema, unit, _ = FORMATS[dialect]
    return json.dumps({
        "sourceBucket": bucket, "destinationBucket": bucket, "version": "1", "fileFormat": "CSV",
        "creationTimestamp": str(int(created * unit)), "fileSchema": schema,
        "files": [{"key": key, "size": size, "MD5checksum": md5} for key, size, md5 in files],
    }).encode()


class Report:
    def __init__(self, bucket, dialect, created=None):
        self.bucket = bucket
        self.dialect = dialect
        self.created = created or time.time()
        self.rows = []

    def add(self, key, size=0, etag='"0"', storage_class=None):
        schema, _, quote = FORMATS[self.dialect]
        values = {
            "Bucket": self.bucket, "Key": quote(key), "Size": size, "LastModifiedDate": MODIFIED,
            "ETag": etag.strip('"'), "StorageClass": storage_class or ("STANDARD", "Standard")[self.dialect == "oss"],
        }
        self.rows.append([values.get(name, "") for name in schema.split(", ")])

    def put(self, objects, prefix="reports/daily/", files=2):
        """Stores the report through `objects`, its rows spread over files; answers the manifest's key."""
        parts = []
        for number in range(files):
            text = io.StringIO()
            csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(self.rows[number::files])
            content = gzip.compress(text.getvalue().encode())
            key = f"{prefix}data/{number}.csv.gz"
            objects.put(key, content)
            parts.append((key, len(content), hashlib.md5(content).hexdigest()))
        document = manifest(self.bucket, self.dialect, self.created, parts)
        folder = prefix + time.strftime("%Y-%m-%dT%H-%MZ/", time.gmtime(self.created))
        objects.put(folder + "manifest.json", document)
        objects.put(folder + "manifest.checksum", hashlib.md5(document).hexdigest().encode())
        return folder + "manifest.json"
