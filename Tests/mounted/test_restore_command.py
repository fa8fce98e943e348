"""`thawfs restore`: what its paths may be, what it says before it asks, and how it waits."""

import fcntl
import json
import os
import pty
import re
import selectors
import signal
import struct
import termios

import pytest

from support.archive import attribute, count, put, restores, s3_client, set_attribute
from support.command import Thawfs, request_id, thawfs, thawfs_json
from support.emulator import Emulator
from support.mount import Mount, wait_until

pytestmark = pytest.mark.without("oas", why="a vault takes neither days nor tiers")


@pytest.fixture
def mount(emulator, archive, tmp_path):
    """A mount of `cold/` (20 objects of the slow class), `quick/` (5 of the quick one) and `hot/` (3)."""
    emulator.seed("bkt", count=20, size=1024, prefix="cold/", storage_class=archive.slow)
    emulator.seed("bkt", count=5, size=100, prefix="quick/", storage_class=archive.quick)
    emulator.seed("bkt", count=3, size=10, prefix="hot/")
    with Mount(emulator, archive.source, tmp_path) as mounted:
        yield mounted


def files(directory):
    return sorted(directory.iterdir())


def refresh(paths):
    """Has the daemon look at once: by itself it asks about a restore of hours every few minutes."""
    for path in paths:
        assert set_attribute(path, "refresh") is None


def wait_for_restores(emulator, number):
    wait_until(lambda: restores(emulator) >= number, f"{number} restores to be asked for")


# -- What is restored


def test_a_directory_becomes_one_request_and_every_object_is_asked_for_once(emulator, archive, mount):
    done = thawfs("restore", "-r", mount.path / "cold")
    assert request_id(done) == 1
    kind = ", ".join(filter(None, [archive.slow, archive.slow_tier, f"up to {archive.told_span}"]))
    assert done.stdout == f"request 1: 20 objects, 20 KiB ({kind})\n"
    wait_for_restores(emulator, 20)
    again = thawfs("restore", "-r", mount.path / "cold")
    assert request_id(again) == 2
    wait_until(lambda: request(mount, 2)["objects"] == 20, "the second request to be collected")
    assert restores(emulator) == 20


def request(mount, number):
    """What the mount says of its request."""
    found = [each for each in thawfs_json("status", mount.path)["mounts"][0]["requests"] if each["id"] == number]
    assert len(found) == 1
    return found[0]


def test_files_are_restored_and_their_neighbours_are_not(emulator, archive, mount):
    first, second = files(mount.path / "cold")[3:5]
    done = thawfs("restore", first, second, first)
    assert request_id(done) == 1
    assert done.stdout.startswith("request 1: 2 objects, 2 KiB (")
    wait_for_restores(emulator, 2)
    assert {status(path) for path in (first, second)} == {"restoring"}
    assert count(emulator, "RestoreObject", f"cold/{first.name}") == 1
    assert restores(emulator) == 2


def status(path):
    return attribute(path, "restore_status")


def test_a_directory_is_restored_only_when_that_is_said(emulator, mount):
    done = thawfs("restore", mount.path / "cold")
    assert done.returncode == 1
    assert "is a directory; -r restores all that is below it" in done.stderr
    assert restores(emulator) == 0


def test_bad_paths_are_each_named_and_nothing_is_sent(emulator, mount):
    good = files(mount.path / "cold")[0]
    done = thawfs("restore", good, mount.path / "no such file", mount.path / "hot", "/etc/passwd")
    assert done.returncode == 1
    for words in ("no such file: No such file", "hot is a directory", "/etc/passwd is not on a mount of thawfs",
                  "nothing was restored"):
        assert words in done.stderr
    assert restores(emulator) == 0
    assert thawfs_json("status", mount.path)["mounts"][0]["requests"] == []


@pytest.mark.only("s3", why="no store takes part in it")
@pytest.mark.parametrize("options, words", [
    (["--days", "0"], "at least 1"), (["--days=-1"], "at least 1"), (["--tier", "Slow"], "Expedited, Standard, Bulk"),
    (["--wait=soon"], "a duration"), (["--max-bytes", "many"], "a size"), (["--dry-run", "--wait"], "--dry-run"),
])
def test_an_option_that_does_not_parse_is_named_and_nothing_is_sent(emulator, mount, options, words):
    done = thawfs("restore", "-r", mount.path, *options)
    assert done.returncode == 64
    assert words in done.stderr
    assert restores(emulator) == 0


def test_names_that_are_no_text_or_no_path_are_restored_by_their_keys(emulator, archive, objects, tmp_path):
    keys = [b"\xff\xfe", b"a//b", b"new\nline", "täst ü".encode(), b"%41"]
    for key in keys:
        objects.put(key, b"x", x_amz_storage_class="GLACIER")
    with Mount(emulator, "s3://bkt", tmp_path) as mount:
        named = [os.fsdecode(os.path.join(os.fsencode(mount.path), name)) for name in (keys[0], keys[2], keys[4])]
        done = thawfs("restore", *named)
        assert done.stdout.startswith("request 1: 3 objects, 3 B"), done.stderr
        wait_for_restores(emulator, 3)
        assert request_id(thawfs("restore", "-r", mount.path)) == 2
        wait_for_restores(emulator, len(keys))


def test_what_is_readable_already_needs_no_request(emulator, mount):
    done = thawfs("restore", "-r", mount.path / "hot", "--wait")
    assert done.returncode == 0
    assert done.stdout == "nothing needs restoring: 3 objects, 30 B, readable\n"
    assert thawfs_json("status", mount.path)["mounts"][0]["requests"] == []


def test_two_mounts_get_a_request_each(emulator, archive, mount, tmp_path):
    with Emulator(buckets=["other"]) as second, Mount(second, f"{archive.dialect}://other", make(tmp_path)) as other:
        second.seed("other", count=2, size=1, prefix="x/", storage_class=archive.slow)
        done = thawfs("restore", "-r", mount.path / "quick", other.path)
        assert done.returncode == 0, done.stderr
        assert [line.split(": ")[0] for line in done.stdout.splitlines()] == [str(mount.path), str(other.path)]
        wait_for_restores(emulator, 5)
        wait_for_restores(second, 2)


def test_a_mount_of_a_prefix_restores_what_is_below_it_and_nothing_else(emulator, archive, tmp_path):
    emulator.seed("bkt", count=4, size=10, prefix="in/side/", storage_class=archive.slow)
    emulator.seed("bkt", count=4, size=10, prefix="in/sidecar/", storage_class=archive.slow)
    with Mount(emulator, f"{archive.dialect}://bkt/in/side", tmp_path) as mount:
        assert request_id(thawfs("restore", "-r", mount.path)) == 1
        wait_until(lambda: request(mount, 1)["stages"]["restoring"]["objects"] == 4, "all to be asked for")
        assert request(mount, 1)["target"] == "in/side/"
        assert restores(emulator) == 4


def make(tmp_path):
    path = tmp_path / "other"
    path.mkdir()
    return path


def test_a_version_is_restored_and_no_other(emulator, archive, tmp_path):
    client = s3_client(emulator)
    client.put_bucket_versioning(Bucket="bkt", VersioningConfiguration={"Status": "Enabled"})
    versions = [client.put_object(Bucket="bkt", Key="d/f", Body=b"x")["VersionId"] for _ in range(3)]
    for version in versions:
        emulator.set_object("bkt", "d/f", version=version, **{"class": archive.slow})
    with Mount(emulator, archive.source, tmp_path) as mount:
        directory = mount.path / "d/.versions/f"
        refused = thawfs("restore", "-r", directory, directory.parent)
        assert refused.returncode == 1
        assert refused.stderr.count("is a directory of versions; name the versions to restore") == 2
        assert restores(emulator) == 0
        assert request_id(thawfs("restore", directory / versions[0])) == 1
        wait_for_restores(emulator, 1)
        assert status(directory / versions[0]) == "restoring"
        assert {status(path) for path in (directory / versions[1], mount.path / "d/f")} == {"frozen"}
        assert thawfs_json("status", directory / versions[0])["file"]["version_id"] == versions[0]


# -- Lists of files


@pytest.mark.only("s3", why="no store takes part in it")
@pytest.mark.parametrize("separator, options", [("\n", []), ("\0", ["-0"]), ("\0", ["--null"])])
@pytest.mark.parametrize("is_piped", [True, False])
def test_paths_come_from_a_list(emulator, mount, tmp_path, separator, options, is_piped):
    paths = files(mount.path / "cold")[:7]
    text = separator.join(map(str, paths)) + separator
    if is_piped:
        done = thawfs("restore", "--files-from", "-", *options, input=text, stdin=None)
    else:
        (tmp_path / "list").write_text(text)
        done = thawfs("restore", "--files-from", tmp_path / "list", *options)
    assert request_id(done) == 1
    wait_for_restores(emulator, 7)
    wait_until(lambda: request(mount, 1)["stages"]["restoring"]["objects"] == 7, "seven objects to be restoring")
    assert request(mount, 1)["target"] == "7 files"


def test_a_bad_path_in_a_list_is_named_and_nothing_is_sent(emulator, mount, tmp_path):
    names = [str(path) for path in files(mount.path / "cold")] + [str(mount.path / "gone"), str(mount.path / "lost")]
    done = thawfs("restore", "--files-from", "-", input="\n".join(names), stdin=None)
    assert done.returncode == 1
    assert "gone: No such file" in done.stderr and "lost: No such file" in done.stderr
    missing = thawfs("restore", "--files-from", tmp_path / "no list")
    assert missing.returncode == 1 and "no list: No such file" in missing.stderr
    assert restores(emulator) == 0


@pytest.mark.without("cos", why="no listing tells of a restore: it would take thousands of HEADs")
def test_thousands_of_files_are_one_request(emulator, archive, tmp_path):
    emulator.seed("bkt", count=2500, size=1, prefix="many/", storage_class=archive.quick)
    with Mount(emulator, archive.source, tmp_path) as mount:
        names = [f"{mount.path}/many/{number:08}" for number in range(2500)]
        done = thawfs("restore", "--files-from", "-", input="\n".join(names), stdin=None)
        assert request_id(done) == 1
        wait_until(lambda: not request(mount, 1)["collecting"], "the request to be collected", 60)
        assert request(mount, 1)["objects"] == 2500


# -- Before anything is sent


def test_a_dry_run_says_what_it_would_come_to_and_sends_nothing(emulator, archive, mount):
    done = thawfs("restore", "-r", mount.path, "--dry-run", "--days", "2")
    assert done.returncode == 0, done.stderr
    lines = [re.sub(" +", " ", line.strip()) for line in done.stdout.splitlines()]
    assert lines[0] == f"{mount.path}:"
    assert "to restore: 25 objects, 20.5 KiB" in lines
    assert f"{archive.slow} {archive.slow_tier or '-'} 2 20 20 KiB {archive.told_span}" in lines
    kind = f"{archive.slow_tier} " if archive.slow_tier else ""
    assert f"{archive.slow}: 20 {kind}retrieval requests, 20 KiB retrieved, 40 KiB-days of temporary copies" in lines
    assert "online: 3 objects, 30 B" in lines
    assert lines[-1] == "nothing was sent"
    assert restores(emulator) == 0
    assert thawfs_json("status", mount.path)["mounts"][0]["requests"] == []


# Tier, days and seconds of the slow and the quick class, asked for with 30 days and Expedited: within what each takes.
EXPEDITED = {
    "oss": [("Expedited", 30, 3600), (None, 7, 60)],
    "s3": [("Standard", 30, 12 * 3600), ("Expedited", 30, 300)],
    "cos": [(None, 30, 12 * 3600), (None, 30, 2 * 3600)],
}


def test_a_dry_run_counts_what_the_provider_bills(emulator, archive, mount):
    document = thawfs_json("restore", "-r", mount.path, "--dry-run", "--days", "30", "--tier", "Expedited")
    assert document["dry_run"] is True
    survey = document["mounts"][0]["survey"]
    assert survey["online"] == {"objects": 3, "bytes": 30}
    classes = {row["storage_class"]: row for row in survey["classes"]}
    slow = classes[archive.slow]
    assert slow["frozen"] == {"objects": 20, "bytes": 20480}
    assert slow["billed"] == {"retrieval_requests": 20, "retrieved_bytes": 20480,
                              "temporary_copy_byte_days": 30 * 20480}
    quick = classes[archive.quick]
    orders = [(row["tier"], row["days"], row["longest_seconds"]) for row in (slow, quick)]
    assert orders == EXPEDITED[archive.dialect]
    assert quick["billed"] == {"retrieved_bytes": 500} | (
        {"retrieval_requests": None, "temporary_copy_byte_days": None} if archive.quick == "Archive" else
        {"retrieval_requests": 5, "temporary_copy_byte_days": 30 * 500})
    assert restores(emulator) == 0


def test_a_dry_run_tells_what_is_restoring_or_restored_already(emulator, archive, mount):
    restoring, restored = files(mount.path / "cold")[:2]
    emulator.set_object("bkt", f"cold/{restoring.name}", state="restoring", **{"for": "5h"})
    emulator.set_object("bkt", f"cold/{restored.name}", state="restored", **{"for": "20d"})
    row, = thawfs_json("restore", "-r", mount.path / "cold", "--dry-run")["mounts"][0]["survey"]["classes"]
    assert [row[name]["objects"] for name in ("frozen", "restoring", "restored", "extended")] == [18, 1, 1, 0]
    longer, = thawfs_json("restore", restored, "--days", "30", "--dry-run")["mounts"][0]["survey"]["classes"]
    assert [longer[name]["objects"] for name in ("frozen", "restored", "extended")] == [0, 0, 1]
    assert longer["billed"]["retrieved_bytes"] == 0
    assert restores(emulator) == 0


def test_what_a_listing_does_not_tell_is_asked_before_it_is_said(emulator, tmp_path):
    put(emulator, "d/archived", b"x" * 100)
    emulator.set_object("bkt", "d/archived", archive_status="ARCHIVE_ACCESS", **{"class": "INTELLIGENT_TIERING"})
    put(emulator, "d/frequent", b"x" * 10)
    emulator.set_object("bkt", "d/frequent", **{"class": "INTELLIGENT_TIERING"})
    put(emulator, "d/", b"", "GLACIER")
    with Mount(emulator, "s3://bkt", tmp_path) as mount:
        survey = thawfs_json("restore", "-r", mount.path / "d", "--dry-run")["mounts"][0]["survey"]
        row, = survey["classes"]
        assert (row["storage_class"], row["days"], row["longest_seconds"]) == ("INTELLIGENT_TIERING", None, 5 * 3600)
        assert row["frozen"] == {"objects": 1, "bytes": 100}
        assert survey["online"] == {"objects": 1, "bytes": 10}
        assert request_id(thawfs("restore", "-r", mount.path / "d")) == 1
        wait_for_restores(emulator, 1)
        wait_until(lambda: not request(mount, 1)["collecting"], "the request to be collected")
        assert request(mount, 1)["objects"] == 1


def test_more_than_max_bytes_is_refused_as_a_whole(emulator, mount):
    done = thawfs("restore", "-r", mount.path / "cold", "--max-bytes", "19K")
    assert done.returncode == 1
    assert "20 KiB would be restored, 1 KiB more than --max-bytes allows; nothing was restored" in done.stderr
    assert restores(emulator) == 0
    assert request_id(thawfs("restore", "-r", mount.path / "cold", "--max-bytes", "20K")) == 1
    wait_for_restores(emulator, 20)


def test_an_object_that_went_away_is_named_and_nothing_is_sent(emulator, archive, objects, mount):
    first, second = files(mount.path / "cold")[:2]
    objects.delete(f"cold/{first.name}")
    done = thawfs("restore", first, second)
    assert done.returncode == 1
    assert f"cold/{first.name} is not there any more" in done.stderr
    assert restores(emulator) == 0


# -- Waiting


def test_a_wait_ends_when_all_is_restored(emulator, archive, mount):
    with Thawfs("restore", "-r", mount.path / "cold", "--days", "1", "--wait") as waiting:
        wait_for_restores(emulator, 20)
        emulator.advance("13h")
        refresh(files(mount.path / "cold"))
        returncode, output, errors = waiting.finish()
    assert returncode == 0, errors
    assert output.splitlines()[-1] == "request 1: 20/20 objects, 20 KiB/20 KiB"
    assert {status(path) for path in files(mount.path / "cold")} == {"restored"}


def test_a_wait_that_runs_out_ends_with_124_and_the_restore_goes_on(emulator, mount):
    done = thawfs("restore", "-r", mount.path / "cold", "--wait=1s")
    assert done.returncode == 124
    assert "the restore goes on: thawfs status 1" in done.stderr
    wait_for_restores(emulator, 20)
    emulator.advance("13h")
    refresh(files(mount.path / "cold"))
    wait_until(lambda: request(mount, 1)["finished"], "the request to be finished")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_wait_leaves_the_restore_going(emulator, mount, number):
    with Thawfs("restore", "-r", mount.path / "cold", "--wait") as waiting:
        wait_for_restores(emulator, 20)
        waiting.signal(number)
        returncode, _, errors = waiting.finish()
    assert returncode == 130
    assert "the restore goes on: thawfs status 1" in errors
    assert request(mount, 1)["finished"] is None
    assert {status(path) for path in files(mount.path / "cold")} == {"restoring"}


def test_a_wait_for_what_the_store_refuses_ends_with_1_and_the_reason(emulator, mount):
    emulator.fault({"status": 403, "code": "AccessDenied"}, op="RestoreObject")
    done = thawfs("restore", "-r", mount.path / "quick", "--wait")
    assert done.returncode == 1
    assert "not all was restored" in done.stderr and "AccessDenied" in done.stderr
    assert "5 failed" in done.stdout


def test_a_wait_ends_when_the_mount_does(emulator, mount):
    with Thawfs("restore", "-r", mount.path / "cold", "--wait") as waiting:
        wait_for_restores(emulator, 20)
        mount.unmount()
        returncode, _, errors = waiting.finish()
    assert returncode == 1
    assert str(mount.path) in errors and "the restore goes on, with the next mount: thawfs status 1" in errors


def test_the_result_of_a_wait_is_one_json_document(emulator, mount):
    with Thawfs("restore", "-r", mount.path / "quick", "--wait", "--json") as waiting:
        wait_for_restores(emulator, 5)
        emulator.advance("6h")
        refresh(files(mount.path / "quick"))
        returncode, output, errors = waiting.finish()
    assert returncode == 0, errors
    part, = json.loads(output)["mounts"]
    assert part["id"] == 1
    assert part["request"]["stages"]["restored"] == {"objects": 5, "bytes": 500}


# -- Progress


def on_terminal(arguments, columns, until, environment):
    """Runs a command on a terminal of so many columns; answers what it drew up to the moment when `until` is drawn and
    it is interrupted."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    drawn = b""
    try:
        with Thawfs(*arguments, stderr=slave, env=os.environ | environment) as waiting:
            os.close(slave)
            with selectors.DefaultSelector() as selector:
                selector.register(master, selectors.EVENT_READ)
                while until not in drawn:
                    assert selector.select(30), f"nothing more was drawn after {drawn!r}"
                    drawn += os.read(master, 4096)
            waiting.signal(signal.SIGINT)
            assert waiting.finish()[0] == 130
    finally:
        os.close(master)
    return drawn


@pytest.mark.only("s3", why="no store takes part in it")
def test_on_a_terminal_progress_is_one_line_that_fits(emulator, mount):
    columns = 60
    drawn = on_terminal(["restore", "-r", mount.path / "cold", "--wait"], columns, b"20 objects", {"TERM": "xterm"})
    lines = drawn.decode().split("\r")
    assert len(lines) > 1 and "\n" not in drawn.decode()
    assert all(len(line) < columns for line in lines)
    assert "\x1b" not in drawn.decode()
    assert re.match(r"\[-+\] 0%  0/20 objects", lines[-1])


@pytest.mark.only("s3", why="no store takes part in it")
def test_on_a_terminal_that_cannot_redraw_progress_is_plain_lines(emulator, mount):
    drawn = on_terminal(["restore", "-r", mount.path / "cold", "--wait"], 60, b"\n", {"TERM": "dumb"})
    assert re.fullmatch(r"request 1: .*objects.*\r\n", drawn.decode())


@pytest.mark.only("s3", why="no store takes part in it")
def test_elsewhere_progress_is_plain_lines(emulator, mount):
    with Thawfs("restore", "-r", mount.path / "cold", "--wait") as waiting:
        wait_for_restores(emulator, 20)
        emulator.advance("13h")
        refresh(files(mount.path / "cold"))
        returncode, _, errors = waiting.finish()
    assert returncode == 0
    assert "\r" not in errors and "\x1b" not in errors
    lines = errors.splitlines()
    assert lines and all(line.startswith("request 1: ") for line in lines)
    assert lines[-1] == "request 1: 20/20 objects, 20 KiB/20 KiB" or lines[-1].startswith(
        "request 1: 20/20 objects, 20 KiB/20 KiB, ")
