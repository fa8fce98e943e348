"""What reads alone may restore: `restore_budget` by its numbers, and `restore_ahead` with what it brings along."""

import os

import pytest

from support.archive import put, remove_attribute, restored_keys, restores, set_attribute, thaw, thaw_all
from support.mount import wait_until
from support.reader import Program, Reader, read, run

BUDGET = 1 << 20
ASKED = ("open", "EAGAIN")
OVER = ("open", "EDQUOT")


@pytest.fixture
def frugal(emulator, archive, tmp_path):
    """A mount whose reads may restore a mebibyte a day, and do not wait."""
    return archive.mount(emulator, tmp_path, on_frozen="eagain", restore_budget="1M/1d")


def put_sizes(emulator, archive, **sizes):
    for key, size in sizes.items():
        put(emulator, key, bytes(size), archive.quick)


def test_reads_restore_up_to_the_budget_and_not_a_byte_more(emulator, archive, frugal):
    put_sizes(emulator, archive, a=BUDGET - 1000, b=1001, c=1000, d=1)
    with frugal as mount:
        assert read(mount.path / "a") == ASKED
        assert read(mount.path / "b") == OVER
        assert read(mount.path / "c") == ASKED
        assert read(mount.path / "d") == OVER
        assert restored_keys(emulator) == ["a", "c"] and restores(emulator) == 2
        lines = [line for line in mount.log().splitlines() if "restore_budget" in line]
        # One line a minute says it.
        assert len(lines) == 1 and " b " in lines[0], mount.log()


def test_a_read_that_would_wait_is_refused_over_the_budget(emulator, archive, tmp_path):
    put_sizes(emulator, archive, a=BUDGET + 1)
    with archive.mount(emulator, tmp_path, restore_budget="1M/1d") as mount:
        assert read(mount.path / "a")[1] == "EDQUOT"
        done = run("cp", mount.path / "a", tmp_path / "copy")
        assert done.returncode != 0 and "Disk quota exceeded" in done.stderr
        assert restores(emulator) == 0


def test_a_file_is_charged_once_however_often_it_is_read(emulator, archive, frugal):
    put_sizes(emulator, archive, a=BUDGET - 1, b=1)
    with frugal as mount:
        assert [read(mount.path / "a") for _ in range(3)] == [ASKED] * 3
        thaw(emulator, "a", archive.quick_span, mount.path / "a")
        wait_until(lambda: read(mount.path / "a")[0] == "ok", "the restore")
        assert read(mount.path / "b") == ASKED
        assert restored_keys(emulator) == ["a", "b"]


def test_restores_by_name_are_not_charged(emulator, archive, frugal):
    put_sizes(emulator, archive, a=3 * BUDGET, b=BUDGET)
    with frugal as mount:
        assert read(mount.path / "a") == OVER
        assert set_attribute(mount.path / "a", "restore") is None
        # It is under way by somebody's wish now, so that a read restores nothing.
        assert read(mount.path / "a") == ASKED
        assert read(mount.path / "b") == ASKED
        assert restored_keys(emulator) == ["a", "b"]


def test_readers_at_once_share_the_budget(emulator, archive, frugal):
    put_sizes(emulator, archive, **{f"f{number}": BUDGET // 8 for number in range(40)})
    with frugal as mount:
        done = run("sh", "-c", 'ls "$1"/f* | xargs -P 8 -n 1 cat', "sh", mount.path)
        assert done.returncode != 0
        assert done.stderr.count("Resource temporarily unavailable") == 8
        assert done.stderr.count("Disk quota exceeded") == 32
        assert restores(emulator) == 8


@pytest.mark.parametrize("end", ["unmounted", "killed"])
def test_what_was_spent_is_remembered(emulator, archive, frugal, end):
    put_sizes(emulator, archive, a=BUDGET - 10, b=11, c=10)
    with frugal as mount:
        assert read(mount.path / "a") == ASKED
        if end == "killed":
            mount.kill()
    with frugal as mount:
        assert read(mount.path / "b") == OVER
        assert read(mount.path / "c") == ASKED
        assert restored_keys(emulator) == ["a", "c"]


@pytest.mark.without("oas", why="a request for a job does not tell its archive, to let one fail")
@pytest.mark.parametrize("end", ["mounted", "unmounted", "killed"])
def test_a_restore_that_the_store_refuses_is_not_charged(emulator, archive, frugal, end):
    put_sizes(emulator, archive, bad=BUDGET - 1, good=BUDGET - 1)
    emulator.fault({"status": 403, "code": "AccessDenied"}, op="RestoreObject", key="bad")
    with frugal as mount:
        assert [read(mount.path / "bad") for _ in range(2)] == [("open", "EACCES")] * 2
        if end == "mounted":
            assert read(mount.path / "good") == ASKED
        elif end == "killed":
            mount.kill()
    with frugal as mount:
        assert read(mount.path / "good") == ASKED
        assert restored_keys(emulator) == ["good"]


@pytest.mark.parametrize("where", [".", "f"])
def test_a_restore_that_is_cancelled_before_it_was_sent_is_not_charged(emulator, archive, tmp_path, where):
    put_sizes(emulator, archive, f=BUDGET - 1, g=BUDGET - 1)
    emulator.fault({"status": 503, "retry_after": 2}, op="RestoreObject")
    with archive.mount(emulator, tmp_path, restore_budget="1M/1d") as mount:
        with Reader(mount.path / "f") as reader:
            reader.wait_until_blocked()
            wait_until(lambda: restores(emulator) > 0, "a refused request")
            assert remove_attribute(mount.path / where, "restore") is None
            assert reader.result() == ("read", "ECANCELED")
        emulator.clear_faults()
        with Reader(mount.path / "g") as reader:
            reader.wait_until_blocked()
            thaw(emulator, "g", archive.quick_span)
            assert reader.result()[0] == "ok"
        assert restored_keys(emulator) == ["g"]


# -- Ahead

DIRECTORY = ["d/0", "d/1", "d/2", "d/3"]
DEEPER = ["d/e/4", "d/e/f/5"]
ELSEWHERE = ["6", "g/7", "d2/8"]


def put_tree(emulator, archive):
    for key in DIRECTORY + DEEPER + ELSEWHERE:
        put(emulator, key, bytes(1000), archive.quick)
    put(emulator, "d/online", bytes(1000))


@pytest.mark.parametrize("ahead, expected", [
    (None, ["d/1"]), ("off", ["d/1"]), ("dir", DIRECTORY), ("tree", DIRECTORY + DEEPER),
])
def test_a_read_restores_what_restore_ahead_says_along_with_its_file(emulator, archive, tmp_path, ahead, expected):
    put_tree(emulator, archive)
    options = {"restore_ahead": ahead} if ahead else {}
    with archive.mount(emulator, tmp_path, on_frozen="eagain", **options) as mount:
        assert read(mount.path / "d/1") == ASKED
        wait_until(lambda: len(restored_keys(emulator)) >= len(expected), "the restores")
        # A directory's objects are asked for last, so that a stray one would have gone before it.
        assert set_attribute(mount.path / "g", "restore") is None
        wait_until(lambda: "g/7" in restored_keys(emulator), "the last of them")
        assert restored_keys(emulator) == sorted([*expected, "g/7"])
        assert restores(emulator) == len(expected) + 1


def test_looking_around_restores_nothing_ahead(emulator, archive, tmp_path):
    put_tree(emulator, archive)
    with archive.mount(emulator, tmp_path, on_frozen="eagain", restore_ahead="tree") as mount:
        for command in (["ls", "-lR"], ["find"], ["getfattr", "-R", "-d"], ["du"]):
            assert run(*command, mount.path / "d").returncode == 0
        assert read(mount.path / "d/online")[0] == "ok"
        # Nor does a wish for one file by name.
        assert set_attribute(mount.path / "d/0", "restore") is None
        assert set_attribute(mount.path / "g", "restore") is None
        wait_until(lambda: "g/7" in restored_keys(emulator), "the last of them")
        assert restored_keys(emulator) == ["d/0", "g/7"]


def test_what_is_restored_ahead_keeps_within_the_budget(emulator, archive, tmp_path):
    for number in range(10):
        put(emulator, f"d/{number}", bytes(300_000), archive.quick)
    with archive.mount(emulator, tmp_path, on_frozen="eagain", restore_ahead="dir", restore_budget="1M/1d") as mount:
        assert read(mount.path / "d/5") == ASKED
        # Three files fit.
        wait_until(lambda: len(restored_keys(emulator)) == 3, "the restores")
        left = next(f"d/{number}" for number in range(10) if f"d/{number}" not in restored_keys(emulator))
        assert read(mount.path / left) == OVER
        assert "d/5" in restored_keys(emulator) and len(restored_keys(emulator)) == 3


def test_with_restore_ahead_tar_waits_once(emulator, archive, tmp_path):
    contents = {f"d/{number}": os.urandom(50_000) for number in range(6)}
    for key, content in contents.items():
        put(emulator, key, content, archive.quick)
    tarball = tmp_path / "out.tar"
    with archive.mount(emulator, tmp_path, restore_ahead="dir") as mount:
        with Program("tar", "-C", mount.path, "-cf", tarball, "d") as program:
            wait_until(lambda: restored_keys(emulator) == sorted(contents), "all to be asked for before one is there")
            thaw_all(emulator, archive.quick_span)
            status, _, errors = program.finish()
            assert status == 0, errors
        assert restores(emulator) == len(contents)
    for key, content in contents.items():
        assert run("tar", "-xOf", tarball, key, text=False).stdout == content
