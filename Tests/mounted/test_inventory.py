"""Inventory reports: what one tells is browsed without listing the bucket, and a report that is wrong is refused."""

import os

import pytest

from support.archive import attribute, count, s3_client
from support.command import thawfs
from support.inventory import Report
from support.reader import run

pytestmark = pytest.mark.without("oas", why="an inventory of a vault is its own, and always asked for")

LISTINGS = {"ListObjectsV2", "ListObjects"}
NAMES = ["plain", "with blank", "a+b", 'quo"te', "100%", "häßlich", "日本語", "-rf", "comma,comma"]


def listings(emulator):
    return sum(emulator.requests()["counts"].get(name, 0) for name in LISTINGS)


@pytest.fixture
def report(objects, dialect, archive):
    """A bucket, and a report of it: names of all kinds, two directories, and an object of an archive class."""
    report = Report("bkt", dialect)
    for name in NAMES:
        for key in (name, f"deep/{name}/below"):
            report.add(key, len(key.encode()), objects.put(key, key.encode()))
    report.add("frozen", 7, objects.put("frozen", b"content"), archive.slow)
    return report


def seen(root):
    """Every path below, with the size of what is a file."""
    found = {}
    for directory, _, files in os.walk(root):
        for name in files:
            path = os.path.join(directory, name)
            found[os.path.relpath(path, root)] = os.lstat(path).st_size
    return found


def test_what_a_report_tells_is_browsed_without_listing(emulator, mounting, objects, report, archive):
    key = report.put(objects)
    emulator.set_object("bkt", "frozen", **{"class": archive.slow})
    mount = mounting(options={"metadata_ttl": "forever", "inventory": "reports/daily"})
    sizes = {key: len(key.encode()) for name in NAMES for key in (name, f"deep/{name}/below")} | {"frozen": 7}
    with mount:
        emulator.clear_requests()
        assert seen(mount.path) == sizes
        assert attribute(mount.path / "frozen", "restore_status") == "frozen"
        assert run("ls", mount.path / "nothing").returncode != 0
        assert listings(emulator) == 0
        assert (mount.path / "deep/a+b/below").read_bytes() == b"deep/a+b/below"
        (mount.path / "deep/made").write_bytes(b"mine")
    # The same report is not loaded again: what was made since stays, and the mount asks for one key only.
    emulator.clear_requests()
    with mount:
        assert count(emulator, "GetObject", key.replace("manifest.json", "data/0.csv.gz")) == 0
        emulator.clear_requests()
        assert set(os.listdir(mount.path / "deep")) == {*NAMES, "made"}
        assert listings(emulator) == 0
    assert "is not newer than what is known" in mount.log()


def test_a_report_with_a_wrong_checksum_refuses_the_mount(mounting, objects, report):
    key = report.put(objects)
    mount = mounting(options={"inventory": key})
    with mount:
        assert "plain" in os.listdir(mount.path)
    content = b"\x1f\x8b damaged"
    report.created += 60
    key = mount.options["inventory"] = report.put(objects)
    objects.put("reports/daily/data/1.csv.gz", content)
    done = mount.mount()
    assert done.returncode != 0
    assert "inventory reports/daily/data/1.csv.gz: it has 10 bytes" in done.stderr
    assert not os.path.ismount(mount.path)
    objects.put(key.replace("manifest.json", "manifest.checksum"), b"0" * 32)
    done = mount.mount()
    assert done.returncode != 0 and "its MD5 is not the one in" in done.stderr


def test_a_report_whose_configuration_leaves_objects_out_refuses_the_mount(emulator, mounting, objects, report):
    report.put(objects)
    configuration = {
        "Id": "daily", "IsEnabled": True, "IncludedObjectVersions": "Current", "Schedule": {"Frequency": "Daily"},
        "Destination": {"S3BucketDestination": {"Bucket": "arn:aws:s3:::bkt", "Format": "CSV"}},
        "Filter": {"Prefix": "dee"}}
    client = s3_client(emulator)
    client.put_bucket_inventory_configuration(Bucket="bkt", Id="daily", InventoryConfiguration=configuration)
    mount = mounting(options={"inventory": "reports/daily"})
    done = mount.mount()
    assert done.returncode != 0
    assert "the bucket's inventory “daily” leaves objects out" in done.stderr and "Prefix dee" in done.stderr
    del configuration["Filter"]
    client.put_bucket_inventory_configuration(Bucket="bkt", Id="daily", InventoryConfiguration=configuration)
    with mount:
        assert (mount.path / "plain").stat().st_size == 5


def test_a_report_is_loaded_ahead_of_a_mount(emulator, mounting, objects, report):
    # It is older than the TTL, and trusted from now on.
    report.created -= 86_400
    key = report.put(objects)
    mount = mounting(options={"metadata_ttl": "1h"})
    options = ",".join(f"{name}={value}" for name, value in mount.options.items())
    command = ("cache", "import", mount.source, key, "-o", options)
    done = thawfs(*command, env=mount.env)
    assert done.returncode == 0, done.stderr
    assert f"loaded {len(report.rows)} objects" in done.stdout
    with mount:
        emulator.clear_requests()
        assert sorted(os.listdir(mount.path)) == sorted([*NAMES, "deep", "frozen"])
        assert listings(emulator) == 0
        done = thawfs(*command, env=mount.env)
        assert done.returncode != 0 and "unmount it first" in done.stderr
