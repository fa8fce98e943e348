"""Versions of objects as files below the hidden `.versions` of every directory: seen, read, restored on their own."""

import os

import pytest

from support.archive import attribute, count, s3_client, set_attribute, wait_until_known
from support.mount import Mount, wait_until
from support.reader import Reader, read, run, sha256

pytestmark = pytest.mark.without("oas", why="a vault has no versions")


@pytest.fixture
def client(emulator):
    """Puts and deletes; the bucket has versions."""
    client = s3_client(emulator)
    client.put_bucket_versioning(Bucket="bkt", VersioningConfiguration={"Status": "Enabled"})
    return client


def put(client, key, *contents):
    """Puts an object's contents one after the other; answers the ids of the versions."""
    return [client.put_object(Bucket="bkt", Key=key, Body=content)["VersionId"] for content in contents]


def freeze(emulator, key, versions, storage_class):
    for version in versions:
        emulator.set_object("bkt", key, version=version, **{"class": storage_class})


def restore_headers(client, key, versions):
    return [client.head_object(Bucket="bkt", Key=key, VersionId=version).get("Restore") for version in versions]


def status(path):
    return attribute(path, "restore_status")


def test_every_version_is_a_file_of_its_own(client, mounting):
    contents = [b"one", b"second", b"the third"]
    versions = put(client, "dir/f", *contents)
    put(client, "dir/g", b"other")
    with mounting() as mount:
        for directory in (mount.path / "dir/.versions/f", mount.path / ".versions/dir/f"):
            assert sorted(os.listdir(directory)) == sorted(versions)
            for version, content in zip(versions, contents):
                file = directory / version
                assert read(file) == ("ok", sha256(content))
                head = client.head_object(Bucket="bkt", Key="dir/f", VersionId=version)
                assert (file.stat().st_size, file.stat().st_mtime) == (len(content), head["LastModified"].timestamp())
                assert attribute(file, "version_id") == version
                assert attribute(file, "key") == "dir/f"
        assert read(mount.path / "dir/f") == ("ok", sha256(contents[-1]))
        assert sorted(os.listdir(mount.path / ".versions")) == ["dir"]
        with pytest.raises(FileNotFoundError):
            os.stat(mount.path / ".versions/dir/f/no-such-version")


def test_versions_are_hidden_from_listings(client, mounting):
    put(client, "dir/f", b"one", b"two")
    with mounting() as mount:
        assert (mount.path / ".versions/dir/f").is_dir()
        assert (mount.path / "dir/.versions").is_dir()
        found = run("find", mount.path, "-mindepth", "1", "-printf", "%P\n").stdout.split()
        assert sorted(found) == ["dir", "dir/f"]
        assert run("ls", "-A", mount.path / "dir").stdout.split() == ["f"]
        assert run("tar", "-C", mount.path, "-cf", "/dev/null", "-v", ".").stdout.split() == ["./", "./dir/", "./dir/f"]


def test_deleted_files_and_directories_keep_their_versions(client, mounting):
    old, = put(client, "gone/deep/f", b"old content")
    kept, = put(client, "f", b"before")
    put(client, "here", b"x")
    for key in ("gone/deep/f", "f"):
        client.delete_object(Bucket="bkt", Key=key)
    with mounting() as mount:
        assert os.listdir(mount.path) == ["here"]
        assert sorted(os.listdir(mount.path / ".versions")) == ["f", "gone", "here"]
        assert os.listdir(mount.path / ".versions/f") == [kept]
        assert read(mount.path / ".versions/f" / kept) == ("ok", sha256(b"before"))
        file = mount.path / ".versions/gone/deep/f" / old
        assert run("cp", file, mount.path.parent / "copy").returncode == 0
        assert (mount.path.parent / "copy").read_bytes() == b"old content"
        with pytest.raises(FileNotFoundError):
            os.stat(mount.path / "gone")


def test_a_key_named_like_the_versions_is_reached_beside_them(client, mounting):
    put(client, ".versions/a", b"in a directory")
    version, = put(client, "d/.versions", b"a file")
    with mounting() as mount:
        assert sorted(os.listdir(mount.path)) == ["%~.versions", "d"]
        assert (mount.path / "%~.versions/a").read_bytes() == b"in a directory"
        assert os.listdir(mount.path / "d") == ["%~.versions"]
        assert (mount.path / "d/%~.versions").read_bytes() == b"a file"
        assert os.listdir(mount.path / "d/.versions") == ["%~.versions"]
        assert (mount.path / "d/.versions/%~.versions" / version).read_bytes() == b"a file"


def test_an_object_that_is_also_a_directory_has_both_among_the_versions(client, mounting):
    version, = put(client, "both", b"object")
    below, = put(client, "both/below", b"below")
    with mounting() as mount:
        assert sorted(os.listdir(mount.path / ".versions")) == ["%=both", "both"]
        assert (mount.path / ".versions/%=both" / version).read_bytes() == b"object"
        assert (mount.path / ".versions/both/below" / below).read_bytes() == b"below"


def test_a_bucket_without_versions_has_the_null_version(emulator, objects, mounting):
    objects.put("dir/f", b"content")
    with mounting() as mount:
        assert os.listdir(mount.path / "dir/.versions/f") == ["null"]
        file = mount.path / "dir/.versions/f/null"
        assert file.read_bytes() == b"content"
        assert attribute(file, "version_id") == "null"


def test_the_root_of_a_prefix_has_the_versions_below_it(client, mounting):
    version, = put(client, "p/f", b"content")
    put(client, "q", b"outside")
    with mounting(prefix="p") as mount:
        assert os.listdir(mount.path / ".versions") == ["f"]
        assert (mount.path / ".versions/f" / version).read_bytes() == b"content"


def test_a_new_version_is_in_the_next_listing(client, mounting):
    versions = put(client, "f", b"one")
    with mounting() as mount:
        assert os.listdir(mount.path / ".versions/f") == versions
        versions += put(client, "f", b"two")
        assert sorted(os.listdir(mount.path / ".versions/f")) == sorted(versions)


@pytest.mark.without("cos", why="its listings are S3's")
def test_thousands_of_versions_are_listed_page_by_page(client, emulator, mounting):
    versions = put(client, "f", *(b"%d" % number for number in range(1100)))
    with mounting() as mount:
        emulator.clear_requests()
        found = list(os.scandir(mount.path / ".versions/f"))
        assert {entry.name for entry in found} == set(versions)
        assert sum(entry.stat().st_size for entry in found) == sum(len(str(number)) for number in range(1100))
        # Two requests for the name, which may be a directory too beyond its many versions, and two pages; then one for
        # each file that was not on the first.
        assert emulator.requests()["counts"] == {"ListObjectVersions": 4, "HeadObject": 100}


def test_a_look_at_listed_versions_asks_nothing(client, emulator, mounting):
    for name in ("a", "b", "sub/c"):
        put(client, name, b"1", b"22")
    with mounting() as mount:
        emulator.clear_requests()
        assert run("ls", "-l", mount.path / ".versions").returncode == 0
        assert emulator.requests()["counts"] == {"ListObjectVersions": 1}
        assert run("ls", "-l", mount.path / ".versions/a").returncode == 0
        assert emulator.requests()["counts"] == {"ListObjectVersions": 2}
        versions = os.listdir(mount.path / ".versions/a")
        assert len(versions) == 2
        versions += put(client, "a", b"333")
        assert [(mount.path / ".versions/a" / version).stat().st_size for version in versions] == [2, 1, 3]


def test_a_version_cannot_be_changed(client, mounting):
    version, = put(client, "f", b"one")
    with mounting() as mount:
        file = mount.path / ".versions/f" / version
        for change in (lambda: file.write_bytes(b"x"), file.unlink, lambda: os.truncate(file, 0),
                       lambda: (mount.path / ".versions/new").mkdir()):
            with pytest.raises(OSError) as caught:
                change()
            assert caught.value.strerror == "Read-only file system"


def test_a_version_is_restored_by_name(emulator, client, archive, tmp_path):
    versions = put(client, "d/f", b"the first", b"second")
    freeze(emulator, "d/f", versions, archive.quick)
    first, second = versions
    with Mount(emulator, archive.source, tmp_path, {"on_frozen": "refuse"}) as mount:
        directory = mount.path / "d/.versions/f"
        assert [status(directory / version) for version in versions] == ["frozen", "frozen"]
        assert attribute(directory / first, "storage_class") == archive.quick
        wish = ",".join(filter(None, ["days=2", archive.quick_wish]))
        assert set_attribute(directory / first, "restore", wish) is None
        assert restore_headers(client, "d/f", versions) == ['ongoing-request="true"', None]
        assert [status(directory / version) for version in versions] == ["restoring", "frozen"]
        assert status(mount.path / "d/f") == "frozen"
        emulator.advance(archive.quick_span)

        def is_restored():
            set_attribute(directory / first, "refresh")
            return status(directory / first) == "restored"
        wait_until(is_restored, "the version to be restored")
        assert attribute(directory / first, "restore_expiry") is not None
        assert read(directory / first) == ("ok", sha256(b"the first"))
        for file in (directory / second, mount.path / "d/f"):
            assert status(file) == "frozen"
            assert read(file) == ("open", "EREMOTE")


def test_a_restored_version_is_given_up_alone(emulator, client, tmp_path):
    versions = put(client, "f", b"the first", b"second")
    freeze(emulator, "f", versions, "Archive")
    for version in versions:
        emulator.set_object("bkt", "f", version=version, state="restored", **{"for": "2d"})
    with Mount(emulator, "oss://bkt", tmp_path) as mount:
        first, second = (mount.path / ".versions/f" / version for version in versions)
        assert [status(first), status(second)] == ["restored", "restored"]
        assert run("setfattr", "-x", "user.thaw.restore", first).returncode == 0
        assert [status(first), status(second), status(mount.path / "f")] == ["frozen", "restored", "restored"]
        assert restore_headers(client, "f", versions)[0] is None
        done = run("setfattr", "-n", "user.thaw.restore", "-v", "", mount.path / ".versions/f")
        assert "Operation not supported" in done.stderr


def test_a_read_waits_for_the_version_and_restores_no_other(emulator, client, archive, tmp_path):
    versions = put(client, "f", b"the first", b"second")
    freeze(emulator, "f", versions, archive.quick)
    with archive.mount(emulator, tmp_path) as mount:
        file = mount.path / ".versions/f" / versions[0]
        with Reader(file) as reader, Reader(file) as another:
            reader.wait_until_blocked()
            another.wait_until_blocked()
            wait_until(lambda: restore_headers(client, "f", versions)[0] is not None, "the restore of the version")
            assert restore_headers(client, "f", versions) == ['ongoing-request="true"', None]
            assert count(emulator, "RestoreObject") == 1
            wait_until_known(file)
            emulator.advance(archive.quick_span)
            archive.hasten(file)
            assert reader.result() == ("ok", sha256(b"the first"))
            assert another.result() == ("ok", sha256(b"the first"))
        assert restore_headers(client, "f", versions)[1] is None
        assert status(mount.path / "f") == "frozen"


def test_a_frozen_version_is_read_beside_a_current_one_that_is_not(emulator, client, archive, tmp_path):
    versions = put(client, "f", b"frozen", b"hot")
    freeze(emulator, "f", versions[:1], archive.quick)
    with archive.mount(emulator, tmp_path) as mount:
        with Reader(mount.path / ".versions/f" / versions[0]) as reader:
            reader.wait_until_blocked()
            assert read(mount.path / "f") == ("ok", sha256(b"hot"))
            assert read(mount.path / ".versions/f" / versions[1]) == ("ok", sha256(b"hot"))
            wait_until_known(mount.path / ".versions/f" / versions[0])
            emulator.advance(archive.quick_span)
            archive.hasten(mount.path / ".versions/f" / versions[0])
            assert reader.result() == ("ok", sha256(b"frozen"))
        assert status(mount.path / "f") == "online"


def test_looking_at_versions_starts_no_restore(emulator, client, archive, tmp_path):
    versions = put(client, "f", b"one", b"two")
    freeze(emulator, "f", versions, archive.quick)
    with archive.mount(emulator, tmp_path) as mount:
        assert run("ls", "-lR", mount.path / ".versions").returncode == 0
        assert run("getfattr", "-dR", mount.path / ".versions").returncode == 0
        assert run("find", mount.path / ".versions", "-size", "+0").returncode == 0
        assert count(emulator, "RestoreObject") == 0
        assert count(emulator, "GetObject") == 0


def test_a_deleted_version_is_gone_for_its_readers(client, mounting):
    first, second = put(client, "f", b"a" * (1 << 20), b"two")
    with mounting(options={"metadata_ttl": "0s"}) as mount:
        file = mount.path / ".versions/f" / first
        assert file.stat().st_size == 1 << 20
        client.delete_object(Bucket="bkt", Key="f", VersionId=first)
        with pytest.raises(FileNotFoundError):
            file.stat()
        assert os.listdir(mount.path / ".versions/f") == [second]


def test_a_store_that_refuses_the_listing_of_versions_is_an_error(emulator, client, mounting):
    put(client, "f", b"content")
    emulator.fault({"status": 403, "code": "AccessDenied"}, op="ListObjectVersions")
    with mounting() as mount:
        with pytest.raises(PermissionError):
            os.listdir(mount.path / ".versions")
        with pytest.raises(PermissionError):
            os.stat(mount.path / ".versions/f")
        assert read(mount.path / "f") == ("ok", sha256(b"content"))
        assert "AccessDenied" in mount.log()
