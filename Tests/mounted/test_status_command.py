"""`thawfs status`, and the control socket that it asks."""

import datetime
import json
import os
import pathlib
import signal
import socket
import stat

import pytest

from support.archive import put, restores, set_attribute
from support.command import Thawfs, request_id, thawfs, thawfs_json
from support.emulator import thawfs_binary
from support.mount import Mount, lives, wait_until
from support.reader import Reader, run

pytestmark = pytest.mark.without("oas", why="a vault takes neither days nor tiers")


@pytest.fixture
def mount(emulator, archive, tmp_path):
    """A mount of `cold/` (20 objects of the slow class) and `quick/a` (of the quick one)."""
    emulator.seed("bkt", count=20, size=1024, prefix="cold/", storage_class=archive.slow)
    put(emulator, "quick/a", b"content", archive.quick)
    with archive.mount(emulator, tmp_path, restore_wait="3h") as mounted:
        yield mounted


def status(mount):
    """All that the mount's daemon says."""
    return thawfs_json("status", mount.path)["mounts"][0]


def control(mount):
    """The path of the mount's control socket."""
    done = run("getfattr", "--absolute-names", "--only-values", "-n", "user.thaw.control", mount.path)
    return pathlib.Path(done.stdout)


def time(text):
    return datetime.datetime.fromisoformat(text)


def wait_until_taken(mount, number):
    wait_until(lambda: len(status(mount)["requests"]) == number, f"{number} requests")
    wait_until(lambda: not any(each["collecting"] for each in status(mount)["requests"]), "requests to be collected")
    wait_until(lambda: not any(each["stages"]["queued"]["objects"] for each in status(mount)["requests"]),
               "all to be asked for")


# -- Mounts


def test_a_mount_says_what_it_is_and_that_nothing_was_asked_for(archive, mount):
    document = status(mount)
    assert document["requests"] == document["waiters"] == document["lanes"] == []
    said = document["mount"]
    assert (said["source"], said["mountpoint"], said["pid"]) == (archive.source, str(mount.path), mount.pid())
    assert said["version"] == thawfs("--version").stdout.strip()
    assert time(said["started"]) <= datetime.datetime.now(datetime.timezone.utc)
    text = thawfs("status", mount.path).stdout
    assert text.splitlines()[0].startswith(f"{archive.source} on {mount.path}, for ")
    assert "no restore has been asked for" in text


@pytest.mark.only("s3", why="no other store counts differently")
def test_traffic_cache_and_the_last_failure_are_told(emulator, tmp_path):
    # So slow that it is kept on disk.
    emulator.seed("bkt", count=2, size=1 << 20, prefix="f")
    with Mount(emulator, "s3://bkt", tmp_path, options={"metadata_ttl": "forever"}) as mount:
        emulator.fault({"bandwidth": 2_000_000}, op="GetObject")
        content = (mount.path / "f00000000").read_bytes()
        emulator.clear_faults()
        wait_until(lambda: status(mount)["cache"]["bytes"] >= len(content), "the file to be kept")
        before = status(mount)
        assert before["traffic"]["requests"] >= emulator.requests()["counts"]["GetObject"]
        assert before["traffic"]["received_bytes"] >= len(content) and before["traffic"]["failed"] == 0
        assert before["cache"]["read_bytes"] == 0 and before["last_failure"] is None
        (mount.path / "new").write_bytes(content)
        assert status(mount)["traffic"]["sent_bytes"] - before["traffic"]["sent_bytes"] == len(content)
        emulator.fault({"status": 403, "code": "AccessDenied"}, op="GetObject")
        with pytest.raises(PermissionError):
            (mount.path / "f00000001").read_bytes()
        after = status(mount)
        assert after["traffic"]["failed"] > 0
        assert "AccessDenied" in after["last_failure"]["text"] and "f00000001" in after["last_failure"]["text"]
        assert time(after["last_failure"]["time"]) >= time(after["mount"]["started"])
        text = thawfs("status", mount.path).stdout
        assert "  traffic: " in text and "  cache: 1 MiB of " in text and "  last failure, " in text
        emulator.clear_faults()
    with Mount(emulator, "s3://bkt", tmp_path, options={"metadata_ttl": "forever"}) as mount:
        assert (mount.path / "f00000000").read_bytes() == content
        assert status(mount)["cache"]["read_bytes"] >= len(content)


@pytest.mark.only("s3", why="no store takes part in it")
def test_without_an_argument_every_mount_is_shown(emulator, archive, mount, tmp_path):
    (tmp_path / "second").mkdir()
    with Mount(emulator, f"{archive.dialect}://bkt/cold", tmp_path / "second") as second:
        shown = {each["mount"]["mountpoint"] for each in thawfs_json("status")["mounts"]}
        assert {str(mount.path), str(second.path)} <= shown
        text = thawfs("status").stdout
        assert str(mount.path) in text and str(second.path) in text


@pytest.mark.only("s3", why="no store takes part in it")
def test_what_is_no_mount_of_thawfs_is_named(mount, tmp_path):
    for place, words in [("/etc/passwd", "is not on a mount of thawfs"), (tmp_path / "nowhere", "No such file"),
                         (mount.path / "nothing", "No such file"), ("/proc", "is not on a mount of thawfs")]:
        done = thawfs("status", place)
        assert done.returncode == 1
        assert f"{place}" in done.stderr and words in done.stderr


def test_a_daemon_that_was_killed_is_named_with_its_remedy(emulator, archive, tmp_path):
    with archive.mount(emulator, tmp_path) as mount:
        pid = mount.pid()
        os.kill(pid, 9)
        wait_until(lambda: not lives(pid), "the daemon to die")
        for command in (["status", mount.path], ["restore", "-r", mount.path]):
            done = thawfs(*command)
            assert done.returncode == 1
            assert f"thawfs umount {mount.path}" in done.stderr
        mount.kill()
        # Its socket is left, and replaced.
        assert mount.mount().returncode == 0
        assert status(mount)["mount"]["pid"] == mount.pid()


# -- Requests, waiters, lanes


def test_a_request_is_shown_with_who_what_and_how_far(emulator, archive, mount):
    done = thawfs("restore", "-r", mount.path / "cold", "--days", "2", "--tier", "bulk")
    assert request_id(done) == 1
    wait_until_taken(mount, 1)
    document = status(mount)
    request, = document["requests"]
    assert request["id"] == 1 and request["origin"] == "command" and request["target"] == "cold/"
    assert request["requester"].startswith("thawfs[") and request["requester"].endswith(f"] uid {os.getuid()}")
    assert (request["days"], request["tier"]) == (2, "Bulk")
    assert (request["objects"], request["bytes"], request["collecting"]) == (20, 20480, False)
    assert request["stages"]["restoring"] == {"objects": 20, "bytes": 20480}
    assert {name for name, tally in request["stages"].items() if not tally["objects"]} == {
        "queued", "restored", "failed", "cancelled"}
    span = datetime.timedelta(hours=int(archive.bulk_span.removesuffix("h")))
    assert abs(time(request["eta"]) - time(request["created"]) - span) < datetime.timedelta(minutes=1)
    assert (request["finished"], request["error"]) == (None, None)
    lane, = document["lanes"]
    assert lane["per_second"] == lane["per_second_max"] > 0 and lane["paused"] is None
    row = next(line for line in thawfs("status", mount.path).stdout.splitlines() if line.split()[:1] == ["1"])
    for words in ("cold/", "active", "0/20", "0 B/20 KiB", request["requester"]):
        assert words in row


def test_a_request_is_found_by_its_number(emulator, archive, mount):
    thawfs("restore", "-r", mount.path / "cold")
    wait_until_taken(mount, 1)
    found = [each for each in thawfs_json("status", "1")["requests"] if each["mount"]["pid"] == mount.pid()]
    assert found[0]["request"] == status(mount)["requests"][0]
    text = thawfs("status", "1").stdout
    assert f"request 1 on {mount.path}: cold/" in text
    assert "20 objects, 20 KiB" in text
    unknown = thawfs("status", "987654321")
    assert unknown.returncode == 1 and "no mount that you may ask knows a request 987654321" in unknown.stderr


def test_a_finished_request_is_shown_with_its_end(emulator, archive, mount):
    thawfs("restore", "-r", mount.path / "cold")
    wait_until_taken(mount, 1)
    emulator.advance("13h")
    for path in (mount.path / "cold").iterdir():
        assert set_attribute(path, "refresh") is None
    wait_until(lambda: status(mount)["requests"][0]["finished"], "the request to be finished")
    request, = status(mount)["requests"]
    assert request["stages"]["restored"] == {"objects": 20, "bytes": 20480}
    assert time(request["finished"]) >= time(request["created"])
    assert "finished" in thawfs("status", mount.path).stdout


def test_what_failed_is_shown_with_the_stores_code(emulator, mount):
    emulator.fault({"status": 403, "code": "AccessDenied"}, op="RestoreObject")
    thawfs("restore", "-r", mount.path / "cold")
    wait_until(lambda: status(mount)["requests"][0]["finished"], "the request to be finished")
    request, = status(mount)["requests"]
    assert request["stages"]["failed"]["objects"] == 20
    assert "AccessDenied" in request["error"]
    assert "20 failed" in thawfs("status", mount.path).stdout


def test_a_lane_that_the_store_slows_down_says_so(emulator, mount):
    emulator.fault({"status": 503, "code": "SlowDown", "retry_after": 60}, op="RestoreObject")
    thawfs("restore", "-r", mount.path / "cold")
    wait_until(lambda: any(lane["paused"] for lane in status(mount)["lanes"]), "the lane to pause")
    lane, = status(mount)["lanes"]
    assert lane["per_second"] < lane["per_second_max"]
    assert status(mount)["requests"][0]["stages"]["queued"]["objects"] == 20
    text = thawfs("status", mount.path).stdout
    assert "slowed down to " in text and f"paused: {lane['paused']}" in text


def test_a_request_outlives_the_daemon(emulator, archive, mount):
    thawfs("restore", "-r", mount.path / "cold")
    wait_until_taken(mount, 1)
    before, = status(mount)["requests"]
    mount.kill()
    assert mount.mount().returncode == 0
    after, = status(mount)["requests"]
    assert (after["id"], after["created"], after["objects"]) == (1, before["created"], 20)
    assert restores(emulator) == 20


def test_who_waits_on_what_is_shown_with_since_when(archive, mount):
    path = mount.path / "quick/a"
    before = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=1)
    with Reader(path) as reader:
        reader.wait_until_blocked()
        wait_until(lambda: status(mount)["waiters"], "the waiter to be shown")
        waiter, = status(mount)["waiters"]
        assert waiter["key"] == "quick/a" and waiter["version"] is None
        assert waiter["caller"].endswith(f"[{reader.pid}] uid {os.getuid()}")
        assert before <= time(waiter["since"]) <= datetime.datetime.now(datetime.timezone.utc)
        assert f"{waiter['caller']} waits on quick/a for " in thawfs("status", mount.path).stdout
        request, = status(mount)["requests"]
        assert request["origin"] == "reader" and request["target"] == "quick/a"
    wait_until(lambda: not status(mount)["waiters"], "the waiter to be gone")


# -- Paths


def test_a_file_is_shown_by_its_attributes(emulator, archive, mount):
    file = sorted((mount.path / "cold").iterdir())[0]
    before = thawfs_json("status", file)["file"]
    assert before == {"path": str(file), "key": f"cold/{file.name}", "storage_class": archive.slow,
                      "restore_status": "frozen"}
    assert restores(emulator) == 0
    thawfs("restore", file)
    wait_until_taken(mount, 1)
    after = thawfs_json("status", file)["file"]
    assert (after["restore_status"], after.get("restore_tier")) == ("restoring", archive.slow_tier)
    assert time(after["restore_requested"]) < time(after["restore_eta"])
    assert "restoring" in thawfs("status", file).stdout


def test_a_directory_is_shown_by_its_counts(emulator, archive, mount):
    first, *_ = sorted((mount.path / "cold").iterdir())
    thawfs("restore", first)
    wait_until_taken(mount, 1)
    assert thawfs_json("status", mount.path / "cold")["directory"] == {
        "path": str(mount.path / "cold"), "key": "cold/", "objects": 20, "bytes": 20480, "frozen": 19, "queued": 0,
        "restoring": 1, "restored": 0, "failed": 0}
    assert restores(emulator) == 1


def test_a_name_does_not_steer_the_terminal(emulator, archive, mount):
    put(emulator, "quick/\x1b[2J\r\x9b2Jx", b"content", archive.quick)
    file, = (path for path in (mount.path / "quick").iterdir() if path.name.endswith("x"))
    assert request_id(thawfs("restore", file)) == 1
    wait_until_taken(mount, 1)
    missing = file.with_name("\x1bmissing")
    for arguments in (["status", file], ["status", mount.path], ["status", "1"], ["status", file, "--json"],
                      ["status", missing], ["restore", missing]):
        done = thawfs(*arguments)
        written = (done.stdout + done.stderr).replace("\n", "")
        assert written and not [sign for sign in written if sign < " " or "\x7f" <= sign < "\xa0"], written
    assert thawfs_json("status", file)["file"]["path"] == str(file)


# -- The socket


@pytest.mark.only("s3", why="no store takes part in it")
def test_the_socket_is_found_from_every_inode_and_never_listed(mount):
    path = control(mount)
    assert stat.S_ISSOCK(path.stat().st_mode) and stat.S_IMODE(path.stat().st_mode) == 0o600
    for place in (mount.path / "quick", mount.path / "quick/a"):
        shown = run("getfattr", "--only-values", "-n", "user.thaw.control", "--absolute-names", place)
        assert shown.stdout == str(path)
        assert "control" not in run("getfattr", "-d", "--absolute-names", place).stdout
        assert set_attribute(place, "control", "elsewhere") == "Operation not supported"


@pytest.mark.only("s3", why="no store takes part in it")
def test_the_socket_goes_with_the_mount(emulator, archive, tmp_path):
    with archive.mount(emulator, tmp_path) as mount:
        path = control(mount)
        assert path.exists()
    assert not path.exists()


@pytest.mark.only("s3", why="no store takes part in it")
def test_a_state_directory_may_be_deeper_than_an_address_holds(emulator, archive, tmp_path):
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    with archive.mount(emulator, tmp_path, state_dir=deep) as mount:
        assert len(str(control(mount))) > 200
        assert thawfs("status", mount.path).returncode == 0


def connect(mount):
    peer = socket.socket(socket.AF_UNIX)
    peer.settimeout(30)
    descriptor = os.open(control(mount).parent, os.O_PATH)
    try:
        peer.connect(f"/proc/self/fd/{descriptor}/control")
    finally:
        os.close(descriptor)
    return peer


@pytest.mark.only("s3", why="no store takes part in it")
def test_garbage_and_silence_on_the_socket_hurt_nobody(emulator, mount):
    silent = [connect(mount) for _ in range(10)]
    for garbage in (b"\0\xff{{{\n", b"[]\n", b'{"command":"restore"}\n{"key":"%zz"}\n', b"x" * 100_000,
                    b'{"command":"request","id":"x"}\n', b'{"command":"restore","days":-7}\n{"end":1}\n'):
        with connect(mount) as peer:
            try:
                peer.sendall(garbage)
                peer.shutdown(socket.SHUT_WR)
                answer = peer.recv(65536)
            except (BrokenPipeError, ConnectionResetError):
                continue
            assert answer == b"" or answer.startswith(b'{"error":'), answer
    assert status(mount)["requests"] == []
    assert restores(emulator) == 0
    for peer in silent:
        peer.close()


@pytest.mark.only("s3", why="no store takes part in it")
def test_a_request_that_breaks_off_before_its_end_is_none(emulator, mount):
    with connect(mount) as peer:
        peer.sendall(b'{"command":"restore","requester":"me","target":"some"}\n')
        peer.sendall(b"".join(b'{"key":"cold/%08d"}\n' % number for number in range(20)))
    # The next one is served in its turn, so that the first has been.
    assert request_id(thawfs("restore", mount.path / "quick/a")) >= 1
    wait_until(lambda: restores(emulator) == 1, "the restore that was asked for")
    assert [each["target"] for each in status(mount)["requests"]] == ["quick/a"]


# -- Who may ask


def as_nobody(*arguments):
    if os.getuid() == 0:
        return thawfs(*arguments, user="nobody", group="nogroup", extra_groups=[], cwd="/")
    return run("sudo", "-n", "-u", "nobody", thawfs_binary(), *arguments, cwd="/")


@pytest.fixture
def public_directory(tmp_path):
    """A directory that others can reach, too."""
    for parent in [tmp_path, *tmp_path.parents]:
        if parent in (pathlib.Path("/tmp"), pathlib.Path("/")):
            break
        parent.chmod(0o755)
    return tmp_path


# Others than root may share a mount only where /etc/fuse.conf says so.
SHARED = [({"allow_other": None}, "ask its owner, or use setfattr")] if os.getuid() == 0 else []


@pytest.mark.only("s3", why="no store takes part in it")
@pytest.mark.parametrize("options, words", [({}, "; ask its owner"), *SHARED])
def test_somebody_elses_mount_is_not_asked_and_its_owner_is_named(
        emulator, archive, public_directory, options, words):
    put(emulator, "f", b"content", archive.slow)
    with archive.mount(emulator, public_directory, **options) as mount:
        for arguments in (["restore", "-r", mount.path], ["status", mount.path]):
            done = as_nobody(*arguments)
            assert done.returncode == 1
            assert str(mount.path) in done.stderr and f"belongs to uid {os.getuid()}" in done.stderr
            assert words in done.stderr
        unreachable = as_nobody("status", "--json")
        assert unreachable.returncode == 0 and str(mount.path) in unreachable.stdout
    assert restores(emulator) == 0


# -- Daemons that do not answer


@pytest.fixture
def stopped(mount):
    """The mount, whose daemon is stopped."""
    pid = mount.pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        yield mount
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.only("s3", why="no store takes part in it")
def test_a_daemon_that_is_stopped_is_named_and_the_others_are_shown(emulator, archive, tmp_path, stopped):
    (tmp_path / "second").mkdir()
    with Mount(emulator, f"{archive.dialect}://bkt/cold", tmp_path / "second") as second:
        with Thawfs("status") as text, Thawfs("status", "--json") as document:
            shown, listed = text.finish(), document.finish()
    assert shown[0] == listed[0] == 0
    words = f"{stopped.path}: the mount does not answer; its daemon is stopped or stuck"
    assert words in shown[1] and f" on {second.path}, for " in shown[1]
    found = json.loads(listed[1])
    assert {"mountpoint": str(stopped.path), "error": words} in found["unreachable"]
    assert str(second.path) in {each["mount"]["mountpoint"] for each in found["mounts"]}


@pytest.mark.only("s3", why="no store takes part in it")
def test_a_command_for_a_mount_whose_daemon_is_stopped_ends(emulator, stopped):
    paths = [stopped.path, stopped.path / "quick/a"]
    commands = [["status", paths[0]], ["status", paths[1]], ["restore", "-r", paths[0]], ["restore", paths[1]]]
    running = [Thawfs(*command) for command in commands]
    for command, program in zip(commands, running):
        with program:
            status, _, errors = program.finish()
        assert status == 1
        assert f"{command[-1]}: the mount does not answer; its daemon is stopped or stuck" in errors
    assert restores(emulator) == 0
