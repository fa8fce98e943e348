"""What a wish for a restore promises: nothing is lost, nothing is asked for twice, no copy ends before its time."""

import datetime

import pytest

from support.archive import (
    attribute, count, counts, put, remove_attribute, restore_header, restored_hours, restored_keys, restores,
    s3_client, set_attribute, wait_for_each_once)
from support.command import Thawfs, thawfs_json
from support.mount import Mount, wait_until
from support.objects import Objects
from support.reader import Program, Stepper, read, sha256

pytestmark = pytest.mark.without("oas", why="a vault takes neither days nor tiers, and gives nothing back")

CONTENT = bytes(1000)
READ_BACK = ("ok", sha256(CONTENT))
LISTING = "ListObjectsV2"
UNSUPPORTED = "Operation not supported"
DAY = 24

# Classes that take every tier.
TIERED = pytest.mark.parametrize("dialect, storage_class", [("oss", "ColdArchive"), ("s3", "GLACIER")])


def restore(path, wish=""):
    assert set_attribute(path, "restore", wish) is None


def request(mount, number):
    """What the mount says of its request; None when it has none of this number."""
    found = [each for each in thawfs_json("status", mount.path)["mounts"][0]["requests"] if each["id"] == number]
    return found[0] if found else None


def stages(mount, number):
    """How many objects of the request are at which stage."""
    return {name: tally["objects"] for name, tally in request(mount, number)["stages"].items() if tally["objects"]}


def wait_for_stages(mount, number, **expected):
    wait_until(lambda: stages(mount, number) == expected, f"request {number} to have {expected}", 60)


def let_pass(emulator, seconds):
    """Waits until so much has passed by the store's clock."""
    def now():
        return datetime.datetime.fromisoformat(emulator.clock()["now"])
    end = now() + datetime.timedelta(seconds=seconds)
    wait_until(lambda: now() >= end, f"{seconds} s of the store's time", 2 * seconds + 15)


def wait_for_hours(emulator, key, hours, path):
    """Waits until the copy lasts so long, or at most an hour less, while the mount is told to look."""
    def lasts():
        set_attribute(path, "refresh")
        # Too early to be extended, there is no date.
        return "expiry-date" in (restore_header(emulator, key) or "") and restored_hours(emulator, key) > hours - 1
    wait_until(lasts, f"a copy of {hours} hours", 60)
    assert restored_hours(emulator, key) <= hours


# -- Nothing is lost


@pytest.mark.without("cos", why="no listing tells of a restore: it would take thousands of HEADs")
@pytest.mark.parametrize("pages", [0, 1])
def test_an_unmount_while_a_directory_is_listed_loses_nothing(emulator, archive, tmp_path, pages):
    emulator.seed("bkt", count=3000, size=10, prefix="d/", storage_class=archive.slow)
    mount = archive.mount(emulator, tmp_path)
    with mount:
        assert attribute(mount.path / "d", "key") == "d/"
        emulator.fault({"latency_ms": 1500}, method="GET", key="")
        emulator.clear_requests()
        restore(mount.path / "d")
        wait_until(lambda: count(emulator, LISTING) == pages, "the first page")
    assert count(emulator, LISTING) < 3
    emulator.clear_faults()
    with mount:
        wait_for_each_once(emulator, mount.path / "d", 3000)
        assert stages(mount, 1) == {"restoring": 3000}


@pytest.mark.without("cos", why="no listing tells of a restore: it would take thousands of HEADs")
def test_a_refusal_that_comes_and_goes_while_a_directory_is_listed_ends_nothing(emulator, archive, tmp_path):
    emulator.seed("bkt", count=3000, size=10, prefix="d/", storage_class=archive.slow)
    with archive.mount(emulator, tmp_path) as mount:
        assert attribute(mount.path / "d", "key") == "d/"
        emulator.fault({"latency_ms": 1500}, method="GET", key="")
        emulator.clear_requests()
        restore(mount.path / "d")
        wait_until(lambda: count(emulator, LISTING) == 1, "the first page")
        # The second page is on its way, the third is refused.
        emulator.fault({"status": 403, "code": "AccessDenied"}, method="GET", key="")
        wait_until(lambda: 403 in [line["status"] for line in emulator.requests()["requests"]], "the refusal")
        emulator.clear_faults()
        wait_for_each_once(emulator, mount.path / "d", 3000)
        assert stages(mount, 1) == {"restoring": 3000}


@pytest.mark.parametrize("end", ["refused", "deleted"])
def test_one_object_of_a_list_that_cannot_be_had_does_not_hold_up_the_others(emulator, archive, tmp_path, end):
    for key in ("a", "y", "z"):
        put(emulator, key, CONTENT, archive.quick)
    # So many stand between them that the last two are asked about one by one.
    emulator.seed("bkt", count=1200, prefix="m/")
    with archive.mount(emulator, tmp_path) as mount:
        paths = [mount.path / key for key in ("a", "y", "z")]
        assert [attribute(path, "restore_status") for path in paths] == ["frozen"] * 3
        emulator.clear_requests()
        emulator.fault({"latency_ms": 500}, op="HeadObject", key="y", times=1)
        emulator.fault({"latency_ms": 4000}, op="HeadObject", key="z", times=1)
        with Thawfs("restore", "--wait", *paths) as waiting:
            # What it comes to is being found out: the answer about z is on its way.
            wait_until(lambda: count(emulator, "HeadObject", "y") == 1, "the answer about y")
            if end == "refused":
                emulator.fault({"status": 403, "code": "AccessDenied"}, op="HeadObject", key="z")
            else:
                Objects(emulator).delete("z")
            wait_until(lambda: restored_keys(emulator) == ["a", "y"], "the others' requests", 60)
            emulator.advance("13h")
            for path in paths[:2]:
                assert set_attribute(path, "refresh") is None
            returncode, output, errors = waiting.finish()
        assert returncode == 1, output
        assert "not all was restored" in errors
        assert [read(path) for path in paths[:2]] == [READ_BACK] * 2
        assert restored_keys(emulator) == ["a", "y"]
        assert any(" z" in line for line in mount.log().splitlines() if "request 1" in line), mount.log()


def test_requests_on_their_way_at_an_unmount_are_not_sent_again(emulator, archive, tmp_path):
    emulator.seed("bkt", count=10, size=10, prefix="d/", storage_class=archive.slow)
    put(emulator, "witness/f", CONTENT, archive.slow)
    keys = [f"d/{number:08}" for number in range(10)]
    emulator.fault({"latency_ms": 600_000}, op="RestoreObject")
    mount = archive.mount(emulator, tmp_path)
    with mount:
        restore(mount.path / "d")
        wait_until(lambda: all("true" in (restore_header(emulator, key) or "") for key in keys), "all to be taken")
        assert restores(emulator) == 0, "answered"
    emulator.clear_faults()
    emulator.clear_requests()
    with mount:
        wait_for_stages(mount, 1, restoring=10)
        # What would be sent again would go before this one.
        restore(mount.path / "witness")
        wait_for_stages(mount, 2, restoring=1)
        assert restored_keys(emulator) == ["witness/f"] and restores(emulator) == 1


# -- Copies last as long as the longest wish


@pytest.mark.parametrize("where", ["d", "d/f"])
def test_a_restore_of_fewer_days_that_somebody_else_started_ends_with_the_days_wished_for(
        emulator, archive, tmp_path, where):
    put(emulator, "d/f", CONTENT, archive.slow)
    s3_client(emulator).restore_object(
        Bucket="bkt", Key="d/f", RestoreRequest={"Days": 1, "GlacierJobParameters": {"Tier": "Standard"}})
    with archive.mount(emulator, tmp_path) as mount:
        restore(mount.path / where, "days=7")
        wait_for_stages(mount, 1, restoring=1)
        emulator.advance(archive.slow_span)
        wait_for_hours(emulator, "d/f", 7 * DAY, mount.path / "d/f")
        assert restored_keys(emulator) == ["d/f", "d/f"]


@TIERED
def test_days_wished_for_while_a_faster_tier_is_queued_are_kept(emulator, tmp_path, dialect, storage_class):
    put(emulator, "f", CONTENT, storage_class)
    with Mount(emulator, f"{dialect}://bkt", tmp_path) as mount:
        file = mount.path / "f"
        restore(file, "days=3,tier=Bulk")
        emulator.fault({"status": 503, "retry_after": 2}, op="RestoreObject")

        def wish(text):
            return Program("setfattr", "-n", "user.thaw.restore", "-v", text, file)

        with wish("days=10,tier=Expedited") as faster:
            wait_until(lambda: restores(emulator) > 1, "the store to be busy")
            with wish("days=20") as longer:
                wait_until(lambda: request(mount, 3), "the last wish to be remembered")
                emulator.clear_faults()
                assert [program.finish()[0] for program in (faster, longer)] == [0, 0]
        wait_until(lambda: len(restored_keys(emulator)) == 2, "the faster tier")
        emulator.advance("1h")
        wait_for_hours(emulator, "f", 20 * DAY, file)
        assert restored_keys(emulator) == ["f"] * 3


def test_fewer_days_than_a_copy_has_left_shorten_nothing(emulator, archive, tmp_path):
    put(emulator, "f", CONTENT, archive.slow)
    emulator.set_object("bkt", "f", state="restored", **{"for": "20d"})
    with archive.mount(emulator, tmp_path) as mount:
        restore(mount.path / "f", "days=1")
        assert restores(emulator) == 0
        assert 19 * DAY < restored_hours(emulator, "f")
        assert attribute(mount.path / "f", "restore_status") == "restored"


# -- Copies of open files


@pytest.fixture
def lapsing(emulator):
    """Puts a file whose copy is there for some seconds yet."""
    def make(key, storage_class, seconds):
        put(emulator, key, CONTENT, storage_class)
        emulator.set_object("bkt", key, state="restored", **{"for": f"{seconds}s"})
    return make


def wait_for_renewal(emulator, key):
    def statuses():
        return [line["status"] for line in emulator.requests()["requests"]
                if line["op"] == "RestoreObject" and line["key"] == key and line["status"] in (200, 202)]
    # In time: an extension, and no new restore.
    wait_until(statuses, f"the renewal of {key}", 60)
    assert statuses() == [200]


@pytest.mark.without("cos", why="restores are renewed in the same way as at S3, and test_expiry has one")
def test_a_renewal_leaves_a_copy_alone_that_somebody_else_made_longer(emulator, archive, tmp_path, lapsing):
    lapsing("f", archive.slow, 20)
    lapsing("witness", archive.slow, 40)
    with archive.mount(emulator, tmp_path) as mount:
        with Stepper(mount.path / "f") as stepper, Stepper(mount.path / "witness"):
            emulator.set_object("bkt", "f", state="restored", **{"for": "20d"})
            # Renewed half way, as the other would have been before.
            wait_for_renewal(emulator, "witness")
            assert restores(emulator, "f") == 0
            assert restored_hours(emulator, "f") > 19 * DAY
            assert stepper.step(1000) == (1000, sha256(CONTENT), None)


@pytest.mark.without("cos", why="restores are renewed in the same way as at S3, and test_expiry has one")
@pytest.mark.parametrize("status", [500, 503])
def test_a_renewal_that_meets_an_outage_is_tried_again_before_the_copy_lapses(
        emulator, archive, tmp_path, lapsing, status):
    lapsing("f", archive.slow, 60)
    emulator.fault({"status": status}, op="RestoreObject")
    with archive.mount(emulator, tmp_path) as mount, Stepper(mount.path / "f") as stepper:
        wait_until(lambda: restores(emulator) > 0, "the first renewal", 60)
        let_pass(emulator, 5)
        emulator.clear_faults()
        wait_for_renewal(emulator, "f")
        assert restored_hours(emulator, "f") > DAY - 1
        assert stepper.step(1000) == (1000, sha256(CONTENT), None)


def test_a_copy_that_was_given_back_is_not_restored_again_for_who_has_it_open(emulator, tmp_path, lapsing):
    lapsing("f", "Archive", 20)
    lapsing("witness", "Archive", 40)
    with Mount(emulator, "oss://bkt", tmp_path) as mount:
        with Stepper(mount.path / "f"), Stepper(mount.path / "witness"):
            assert remove_attribute(mount.path / "f", "restore") is None
            assert attribute(mount.path / "f", "restore_status") == "frozen"
            wait_for_renewal(emulator, "witness")
            assert restores(emulator, "f") == 0


def test_a_copy_that_cannot_be_given_back_is_renewed_as_before(emulator, tmp_path, lapsing):
    lapsing("f", "GLACIER", 30)
    with Mount(emulator, "s3://bkt", tmp_path) as mount, Stepper(mount.path / "f"):
        assert remove_attribute(mount.path / "f", "restore") == UNSUPPORTED
        wait_for_renewal(emulator, "f")


# -- Taking back


def test_a_copy_that_cannot_be_given_back_stays_what_it_was_in_its_request(emulator, tmp_path):
    for key in ("d/f", "d/g"):
        put(emulator, key, CONTENT, "DEEP_ARCHIVE")
    emulator.set_object("bkt", "d/f", state="restored", **{"for": "2d"})
    with Mount(emulator, "s3://bkt", tmp_path) as mount:
        restore(mount.path / "d", "days=1")
        wait_for_stages(mount, 1, restored=1, restoring=1)
        before = restore_header(emulator, "d/f")
        assert remove_attribute(mount.path / "d/f", "restore") == UNSUPPORTED
        assert stages(mount, 1) == {"restored": 1, "restoring": 1}
        assert restore_header(emulator, "d/f") == before
        assert read(mount.path / "d/f") == READ_BACK


@TIERED
def test_a_cancelled_directory_drops_faster_tiers_that_are_queued(emulator, tmp_path, dialect, storage_class):
    emulator.seed("bkt", count=10, size=10, prefix="d/", storage_class=storage_class)
    put(emulator, "witness/f", CONTENT, storage_class)
    with Mount(emulator, f"{dialect}://bkt", tmp_path) as mount:
        restore(mount.path / "d", "tier=Bulk")
        wait_for_stages(mount, 1, restoring=10)
        emulator.fault({"status": 503, "retry_after": 15}, op="RestoreObject")
        restore(mount.path / "d", "tier=Expedited")
        wait_until(lambda: restores(emulator) == 20 and "slow down" in mount.log(), "all to be refused")
        # Before any of them is asked for again.
        assert remove_attribute(mount.path / "d", "restore") is None
        emulator.clear_faults()
        emulator.clear_requests()
        # What was dropped would have gone before this one.
        restore(mount.path / "witness")
        wait_until(lambda: restores(emulator, "witness/f") == 1, "the witness", 60)
        assert restored_keys(emulator) == ["witness/f"] and restores(emulator) == 1
        # What the provider had begun it goes on with.
        assert counts(mount.path / "d")["restoring"] == 10


@TIERED
def test_a_slow_restore_is_noticed_after_its_faster_tier_was_dropped(emulator, tmp_path, dialect, storage_class):
    emulator.seed("bkt", count=10, size=10, prefix="d/", storage_class=storage_class)
    with Mount(emulator, f"{dialect}://bkt", tmp_path) as mount:
        restore(mount.path / "d", "tier=Bulk")
        wait_for_stages(mount, 1, restoring=10)
        emulator.fault({"status": 503, "retry_after": 3}, op="RestoreObject")
        restore(mount.path / "d", "tier=Expedited")
        wait_until(lambda: restores(emulator) == 20 and "slow down" in mount.log(), "all to be refused")
        # Meanwhile the slow one has ended.
        emulator.advance("13h")
        assert remove_attribute(mount.path / "d", "restore") is None
        wait_for_stages(mount, 1, restored=10)


# -- Others' restores


@pytest.mark.without("cos", why="all its classes are as slow as the slow ones of the others, whose test this is")
@pytest.mark.parametrize("where", ["d", "d/f"])
@pytest.mark.parametrize("speed, looks", [("slow", 3), ("quick", 10)])
def test_a_restore_of_hours_that_was_joined_is_looked_at_rarely_and_estimated(
        emulator, archive, tmp_path, where, speed, looks):
    emulator.set_scale(1)
    put(emulator, "d/f", CONTENT, getattr(archive, speed))
    emulator.set_object("bkt", "d/f", state="restoring", **{"for": "10h"})
    with archive.mount(emulator, tmp_path) as mount:
        restore(mount.path / where)
        wait_for_stages(mount, 1, restoring=1)
        emulator.clear_requests()
        let_pass(emulator, 10)
        assert count(emulator, LISTING) + count(emulator, "HeadObject") <= looks
        assert attribute(mount.path / "d/f", "restore_eta")
