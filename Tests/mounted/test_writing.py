"""What writing sends to the store, what it costs, and what its failures are: counted in requests and in errnos."""

import errno
import hashlib
import os
import subprocess
import sys

import pytest

from support.archive import attribute, count
from support.mount import wait_until
from support.objects import content
from support.reader import Program, read, run
from support.writer import Holder, write

pytestmark = pytest.mark.without("oas", why="what is written to a vault cannot be read before it is retrieved")

MIB = 1 << 20


def total(emulator):
    return sum(emulator.requests()["counts"].values())


def errno_of(call, *arguments):
    try:
        call(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno]
    return None


# -- What it costs


def test_a_small_new_file_is_one_request(emulated, emulator):
    with emulated.mount() as mount:
        (mount.path / "d").mkdir()
        os.listdir(mount.path / "d")
        emulator.clear_requests()
        for number in range(200):
            (mount.path / "d" / str(number)).write_bytes(b"%d" % number)
        assert count(emulator, "PutObject") == 200
        # What is asked besides is asked once, not for each file.
        assert total(emulator) <= 210
        emulator.clear_requests()
        assert len(run("ls", "-l", mount.path / "d").stdout.splitlines()) == 201
        assert count(emulator, "HeadObject") == 0


def test_a_shells_redirections_are_two_requests_a_file_at_the_most(emulated, emulator):
    """It closes the file once before it writes: there it is empty."""
    with emulated.mount() as mount:
        os.listdir(mount.path)
        emulator.clear_requests()
        assert run("bash", "-c", "for i in $(seq 50); do echo $i > $i; done", cwd=mount.path).returncode == 0
        assert total(emulator) <= 105


def test_a_file_replaced_is_asked_for_and_sent_once(emulated, emulator):
    with emulated.mount() as mount:
        (mount.path / "f").write_bytes(b"one")
        emulator.clear_requests()
        (mount.path / "f").write_bytes(b"another")
        assert emulator.requests()["counts"] == {"HeadObject": 1, "PutObject": 1}


def test_what_changes_nothing_stores_nothing(emulated, emulator):
    with emulated.mount() as mount:
        (mount.path / "f").write_bytes(b"content")
        emulator.clear_requests()
        for number, flags in enumerate((os.O_RDWR, os.O_WRONLY, os.O_RDWR | os.O_APPEND), 1):
            def is_told():
                file = os.open(mount.path / "f", flags)
                os.fsync(file)
                os.close(file)
                return emulator.requests()["counts"] == {"HeadObject": number}
            # Whoever may change it is told what is there now, once the kernel has let go of it since the last.
            wait_until(is_told, f"open number {number} to be told")
        assert emulator.requests()["counts"] == {"HeadObject": 3}


def test_a_synced_file_is_not_sent_again_by_its_close(emulated, emulator):
    with emulated.mount() as mount:
        file = os.open(mount.path / "f", os.O_WRONLY | os.O_CREAT)
        os.write(file, b"content")
        os.fsync(file)
        assert emulated.stored.content("f") == b"content"
        emulator.clear_requests()
        os.close(file)
        assert emulator.requests()["counts"] == {}


def test_a_large_file_is_uploaded_while_it_is_written(emulated, emulator):
    with emulated.mount() as mount, Holder(mount.path) as holder:
        assert holder.do("file = os.open('f', os.O_WRONLY | os.O_CREAT)") == "ok"
        assert holder.do("[os.write(file, bytes([n]) * 1048576) for n in range(64)]") == "ok"
        wait_until(lambda: count(emulator, "UploadPart") >= 4, "parts to be uploaded before the close", 60)
        assert count(emulator, "CompleteMultipartUpload") == 0 and emulated.stored.keys() == []
        assert holder.do("os.close(file)") == "ok"
        requests = emulator.requests()["counts"]
        assert requests["CreateMultipartUpload"] == requests["CompleteMultipartUpload"] == 1
        # Every byte went once.
        assert emulator.requests()["bytes_in"] < 65 * MIB
        wanted = b"".join(bytes([number]) * MIB for number in range(64))
        assert emulated.stored.content("f") == wanted
        assert read(mount.path / "f") == ("ok", hashlib.sha256(wanted).hexdigest())
        assert emulated.stored.uploads() == []


def test_an_appended_line_copies_the_rest_at_the_store(emulated, emulator, objects):
    body = content(40 * MIB)
    objects.put("f", body)
    with emulated.mount() as mount:
        emulator.clear_requests()
        assert run("bash", "-c", "echo more >> f", cwd=mount.path).returncode == 0
        assert emulated.stored.content("f") == body + b"more\n"
        assert count(emulator, "UploadPartCopy") >= 1
        with_reads = emulator.requests()
    assert with_reads["bytes_in"] < 17 * MIB


def test_what_an_upload_did_not_finish_is_aborted(emulated, emulator):
    with emulated.mount() as mount, Holder(mount.path) as holder:
        assert holder.do("file = os.open('f', os.O_RDWR | os.O_CREAT)") == "ok"
        assert holder.do("[os.write(file, bytes(1048576)) for n in range(40)]") == "ok"
        wait_until(lambda: emulated.stored.uploads() == ["f"], "an upload to be under way", 60)
        assert holder.do("os.ftruncate(file, 0), os.close(file)") == "ok"
        assert emulated.stored.content("f") == b""
        wait_until(lambda: emulated.stored.uploads() == [], "the upload to be aborted")


def test_an_upload_of_a_file_that_is_unlinked_is_aborted(emulated, emulator):
    with emulated.mount() as mount, Holder(mount.path) as holder:
        assert holder.do("file = os.open('f', os.O_RDWR | os.O_CREAT)") == "ok"
        assert holder.do("[os.write(file, bytes(1048576)) for n in range(40)]") == "ok"
        wait_until(lambda: emulated.stored.uploads() == ["f"], "an upload to be under way", 60)
        assert holder.do("os.unlink('f')") == "ok"
        assert holder.do("os.close(file)") == "ok"
        wait_until(lambda: emulated.stored.uploads() == [] and emulated.stored.keys() == [], "nothing to be left")


def test_a_directory_of_five_hundred_objects_is_renamed_with_one_copy_each(emulated, emulator, objects):
    for number in range(500):
        objects.put(f"old/{number % 7}/{number:03}", str(number).encode())
    with emulated.mount() as mount:
        emulator.clear_requests()
        os.rename(mount.path / "old", mount.path / "new")
        requests = emulator.requests()["counts"]
        assert requests["CopyObject"] == 500
        assert requests["DeleteObjects"] <= 2
        # At IBM a HEAD tells of each whether it is frozen.
        assert total(emulator) <= 530 + (500 if emulated.dialect == "cos" else 0)
        assert sorted(emulated.stored.keys()) == sorted(f"new/{number % 7}/{number:03}" for number in range(500))
        assert (mount.path / "new/3/010").read_bytes() == b"10"
        assert not (mount.path / "old").exists()


def test_a_directory_is_removed_with_its_marker(emulated):
    with emulated.mount() as mount:
        os.makedirs(mount.path / "d/e")
        assert emulated.stored.keys() == ["d/", "d/e/"]
        assert errno_of(os.rmdir, mount.path / "d") == "ENOTEMPTY"
        os.rmdir(mount.path / "d/e")
        os.rmdir(mount.path / "d")
        assert emulated.stored.keys() == []


def test_the_last_file_of_a_directory_without_a_marker_leaves_the_directory(emulated, objects):
    objects.put("d/f", b"content")
    with emulated.mount() as mount:
        os.unlink(mount.path / "d/f")
        assert os.listdir(mount.path / "d") == []
        os.rmdir(mount.path / "d")
        assert os.listdir(mount.path) == [] and emulated.stored.keys() == []


# -- Open files that lose their names


@pytest.mark.parametrize("how", ["os.unlink('f')", "os.rename('g', 'f')"])
def test_an_open_file_that_lost_its_name_is_read_until_it_is_closed(emulated, how):
    body = content(3 * MIB)
    with emulated.mount() as mount, Holder(mount.path) as holder:
        (mount.path / "f").write_bytes(body)
        (mount.path / "g").write_bytes(b"other")
        file = os.open(mount.path / "f", os.O_RDONLY)
        try:
            assert holder.do(how) == "ok"
            assert not [name for name in os.listdir(mount.path) if name.startswith(".fuse_hidden")]
            assert b"".join(iter(lambda: os.read(file, MIB), b"")) == body
        finally:
            os.close(file)
        left = {"g": b"other"} if "unlink" in how else {"f": b"other"}
        wait_until(lambda: set(emulated.stored.keys()) == set(left), "what was hidden to be gone")
        assert {key: emulated.stored.content(key) for key in left} == left


# -- Failures


DENIED = {"status": 403, "code": "AccessDenied"}


@pytest.mark.parametrize("effect, expected, fsync, operation, size", [
    (DENIED, "EACCES", False, "PutObject", 1000), ({"status": 500}, "EIO", True, "PutObject", 1000),
    ({"status": 500}, "EIO", False, "UploadPart", 40 * MIB), (DENIED, "EACCES", True, "UploadPart", 40 * MIB),
], ids=["403-close", "500-fsync", "500-close-parts", "403-fsync-parts"])
def test_what_the_store_refuses_is_the_error_of_close_or_fsync(
        emulated, emulator, effect, expected, fsync, operation, size):
    with emulated.mount() as mount:
        (mount.path / "f").write_bytes(b"old")
        emulator.fault(effect, op=operation)
        step, error = write(mount.path / "f", size, os.O_WRONLY | os.O_TRUNC, fsync)
        # A large file may hear of it while it is written.
        assert step == ("fsync" if fsync else "close") or (step == "write" and size > MIB)
        assert error == expected
        assert emulated.stored.content("f") == b"old"
        assert effect.get("code", "InternalError") in mount.log() and "f" in mount.log()
        # Nobody is at it any more: it is kept here, and costs nothing there.
        wait_until(lambda: "f is not in the store; it is kept in" in mount.log(), "the file to be kept", 60)
        emulator.clear_faults()
        assert write(mount.path / "f", size, os.O_WRONLY | os.O_TRUNC) == ("ok",)
        assert emulated.stored.content("f") == b"w" * size
    assert emulated.stored.uploads() == []


def test_what_could_not_be_synced_is_synced_when_the_store_is_back(emulated, emulator):
    with emulated.mount() as mount, Holder(mount.path) as holder:
        assert holder.do("file = os.open('f', os.O_RDWR | os.O_CREAT)") == "ok"
        assert holder.do("os.write(file, b'content')") == "ok"
        emulator.fault({"status": 403, "code": "AccessDenied"}, op="PutObject")
        assert holder.do("os.fsync(file)") == "EACCES"
        assert holder.do("os.fsync(file)") == "EACCES"
        emulator.clear_faults()
        assert holder.do("os.fsync(file)") == "ok"
        assert emulated.stored.content("f") == b"content"
        assert holder.do("os.close(file)") == "ok"


@pytest.mark.parametrize("effect", [{"status": 503}, {"lose_reply": True}], ids=["503", "lost"])
@pytest.mark.parametrize("operation, size", [
    ("PutObject", 1000), ("UploadPart", 20 * MIB), ("CreateMultipartUpload", 20 * MIB),
    ("CompleteMultipartUpload", 20 * MIB),
])
def test_a_write_through_a_store_in_passing_trouble_succeeds(emulated, emulator, effect, operation, size):
    """With `lose_reply` the store has done it, and its answer is lost."""
    with emulated.mount() as mount:
        emulator.fault(effect, op=operation, times=2)
        assert write(mount.path / "f", size) == ("ok",)
        assert emulated.stored.content("f") == b"w" * size
        # And over what is there.
        emulator.fault(effect, op=operation, times=2)
        assert write(mount.path / "f", size + 1, os.O_WRONLY | os.O_TRUNC) == ("ok",)
        assert emulated.stored.content("f") == b"w" * (size + 1)


@pytest.mark.parametrize("operation", ["mkdir", "unlink", "rename", "chmod"])
def test_a_change_whose_answer_is_lost_is_made_once(emulated, emulator, operation):
    with emulated.mount() as mount:
        (mount.path / "f").write_bytes(b"content")
        emulator.fault({"lose_reply": True}, times=1, method="DELETE" if operation == "unlink" else "PUT")
        call = {"mkdir": lambda: os.mkdir(mount.path / "d"), "unlink": lambda: os.unlink(mount.path / "f"),
                "rename": lambda: os.rename(mount.path / "f", mount.path / "g"),
                "chmod": lambda: os.chmod(mount.path / "f", 0o600)}[operation]
        assert errno_of(call) is None
        left = {"mkdir": ["d/", "f"], "unlink": [], "rename": ["g"], "chmod": ["f"]}[operation]
        assert emulated.stored.keys() == left


@pytest.mark.parametrize("operation, size", [("PutObject", 1000), ("UploadPart", 20 * MIB)])
def test_bytes_that_change_on_their_way_are_sent_again(emulated, emulator, operation, size):
    with emulated.mount() as mount:
        emulator.fault({"corrupt": True}, op=operation, times=1)
        assert write(mount.path / "f", size) == ("ok",)
        assert emulated.stored.content("f") == b"w" * size
        assert count(emulator, operation) >= 2


@pytest.mark.parametrize("store", ["s3"], indirect=True)
def test_bytes_that_always_change_on_their_way_are_an_error(store, emulator):
    with store.mount() as mount:
        emulator.fault({"corrupt": True}, op="PutObject")
        assert write(mount.path / "f", 1000) == ("close", "EIO")


@pytest.mark.without("cos", why="the staging area knows no stores")
def test_a_file_larger_than_the_staging_area_is_written(emulated):
    with emulated.mount(cache_size="64M") as mount:
        assert write(mount.path / "f", 150 * MIB) == ("ok",)
        assert read(mount.path / "f") == ("ok", hashlib.sha256(b"w" * (150 * MIB)).hexdigest())


@pytest.mark.without("cos", why="the staging area knows no stores")
@pytest.mark.parametrize("effect", [{"status": 503}, DENIED], ids=["503", "403"])
def test_a_full_staging_area_is_enospc_and_loses_nothing(emulated, emulator, effect):
    """Nothing can be uploaded, so nothing can make room."""
    with emulated.mount(cache_size="64M") as mount, Holder(mount.path) as holder:
        (mount.path / "before").write_bytes(b"before")
        for method in ("PUT", "POST"):
            emulator.fault(effect, method=method)
        emulator.clear_requests()
        assert holder.do("file, done = os.open('f', os.O_RDWR | os.O_CREAT), 0") == "ok"
        step = f"bytes([done >> 20]) * ({MIB} - done % {MIB})"
        holder.begin(f"while done < {200 * MIB}: done += os.pwrite(file, {step}, done)")
        assert holder.end(120) == "ENOSPC"
        # It is not for lack of trying, and there is an end to that.
        assert 1 <= count(emulator, "CreateMultipartUpload") < 50
        emulator.clear_faults()
        assert holder.do(f"assert {16 * MIB} <= done == os.fstat(file).st_size") == "ok"
        assert holder.do("os.fsync(file)") == "ok"
        found = emulated.stored.content("f")
        assert holder.do(f"assert done == {len(found)}") == "ok"
        assert found == b"".join(bytes([number]) * MIB for number in range(200))[:len(found)]
        assert holder.do("os.close(file)") == "ok"
        assert emulated.stored.content("before") == b"before"
        # And there is room again.
        assert write(mount.path / "g", 70 * MIB) == ("ok",)
        assert emulated.stored.content("g") == b"w" * (70 * MIB)


@pytest.mark.without("cos", why="the staging area knows no stores")
def test_memory_stays_bounded_while_a_large_file_is_written(emulated):
    with emulated.mount() as mount:
        assert write(mount.path / "f", 300 * MIB) == ("ok",)
        status = dict(line.split(":", 1) for line in open(f"/proc/{mount.pid()}/status").read().splitlines())
        assert int(status["VmHWM"].split()[0]) < 250 * 1024


# -- Others who write


def test_a_close_is_seen_at_once_by_other_processes(emulated):
    with emulated.mount() as mount, Holder(mount.path) as holder:
        for number in range(20):
            assert holder.do(f"open('f', 'w').write('{number}' * {number})") == "ok"
            assert run("cat", mount.path / "f").stdout == str(number) * number
            assert run("stat", "-c", "%s", mount.path / "f").stdout == f"{len(str(number) * number)}\n"
        assert holder.do("os.rename('f', 'g')") == "ok"
        assert os.listdir(mount.path) == ["g"]


def test_two_mounts_see_each_others_files_within_the_ttl(emulated):
    options = {"metadata_ttl": "1s"}
    with emulated.mount("one", **options) as one, emulated.mount("two", **options) as two:
        for number in range(3):
            (one.path / "f").write_bytes(b"x" * (number + 1))
            wait_until(lambda: (two.path / "f").exists() and (two.path / "f").stat().st_size == number + 1, "the file")
            assert (two.path / "f").read_bytes() == b"x" * (number + 1)
        os.rename(two.path / "f", two.path / "g")
        wait_until(lambda: os.listdir(one.path) == ["g"], "the rename to be seen")
        os.unlink(one.path / "g")
        wait_until(lambda: os.listdir(two.path) == [], "the file to be gone")


@pytest.mark.parametrize("store", ["s3"], indirect=True)
def test_an_update_that_would_be_lost_is_refused(store):
    """S3 has If-Match for writes; OSS does not, and the later one wins there."""
    with store.mount("one") as one, store.mount("two") as two:
        (one.path / "f").write_bytes(b"old")
        with Holder(one.path) as first, Holder(two.path) as second:
            for holder in (first, second):
                assert holder.do("file = os.open('f', os.O_RDWR)") == "ok"
                assert holder.do("os.pwrite(file, b'%d' % os.getpid(), 0)") == "ok"
            assert first.do("os.close(file)") == "ok"
            assert second.do("os.close(file)") == "ESTALE"
            assert store.stored.content("f")[:3] == str(first.pid).encode()[:3]


def test_a_file_that_both_create_is_that_of_the_first(emulated):
    with emulated.mount("one") as one, emulated.mount("two") as two:
        with Holder(one.path) as first, Holder(two.path) as second:
            for holder in (first, second):
                assert holder.do("file = os.open('f', os.O_RDWR | os.O_CREAT | os.O_EXCL)") == "ok"
                assert holder.do("os.write(file, b'%d' % os.getpid())") == "ok"
            assert first.do("os.close(file)") == "ok"
            assert second.do("os.close(file)") == "ESTALE"
            assert emulated.stored.content("f") == str(first.pid).encode()


def test_a_file_replaced_at_the_store_is_not_mixed_with_what_is_written(emulated, objects):
    objects.put("f", b"a" * 100_000)
    with emulated.mount() as mount, Holder(mount.path) as holder:
        assert holder.do("file = os.open('f', os.O_RDWR)") == "ok"
        assert holder.do("os.pwrite(file, b'mine', 50000)") == "ok"
        objects.put("f", b"b" * 100_000)
        assert holder.do("os.close(file)") == "ESTALE"
        assert emulated.stored.content("f") == b"b" * 100_000


# -- Storage classes


@pytest.mark.parametrize("dialect", ["oss", "s3"], indirect=True)
@pytest.mark.parametrize("size", [1000, 20 * MIB])
def test_new_objects_have_the_class_asked_for(emulated, size):
    wanted = {"oss": "IA", "s3": "STANDARD_IA"}[emulated.dialect]
    with emulated.mount(storage_class=wanted) as mount:
        assert write(mount.path / "f", size) == ("ok",)
        assert emulated.stored.storage_class("f") == wanted
        assert attribute(mount.path / "f", "storage_class") == wanted
        os.rename(mount.path / "f", mount.path / "g")
        assert emulated.stored.storage_class("g") == wanted


# -- Attributes


def test_a_file_is_whose_it_was_made_for(emulated):
    with emulated.mount() as mount:
        (mount.path / "f").write_bytes(b"content")
        status = (mount.path / "f").stat()
        assert (status.st_uid, status.st_gid) == (os.geteuid(), os.getegid())
        metadata = emulated.stored.metadata("f")
        assert metadata["mode"] == str(0o100644) and metadata["uid"] == str(os.geteuid())
        os.chown(mount.path / "f", 12, 34)
        os.chmod(mount.path / "f", 0o640)
        status = (mount.path / "f").stat()
        assert (status.st_uid, status.st_gid, status.st_mode) == (12, 34, 0o100640)


def test_a_change_of_attributes_copies_no_bytes_here_and_keeps_the_rest(emulated, emulator, objects):
    objects.put("f", b"content", content_type="text/x-thing", x_amz_meta_colour="green", cache_control="no-cache")
    with emulated.mount() as mount:
        emulator.clear_requests()
        os.chmod(mount.path / "f", 0o600)
        requests = emulator.requests()
        assert requests["counts"].get("GetObject", 0) == 0 and requests["counts"]["CopyObject"] == 1
        assert emulated.stored.metadata("f")["colour"] == "green"
        os.setxattr(mount.path / "f", "user.comment", b"hi")
        (mount.path / "f").write_bytes(b"other")
        assert os.getxattr(mount.path / "f", "user.comment") == b"hi"
        assert emulated.stored.metadata("f")["colour"] == "green"


def test_the_room_of_the_mount_is_told(emulated):
    with emulated.mount() as mount:
        room = os.statvfs(mount.path)
        assert room.f_bavail > 1 << 20 and room.f_namemax == 255
        assert run("df", mount.path).returncode == 0


# -- fio


FIO = ["--ioengine=psync", "--verify=crc32c", "--do_verify=1", "--verify_fatal=1", "--size=3M", "--numjobs=3",
       "--group_reporting", "--randseed=1"]


@pytest.mark.parametrize("how", [
    ("--rw=write", "--bs=64k", "--end_fsync=1"), ("--rw=randwrite", "--bs=4k", "--fsync=100"),
    ("--rw=randrw", "--bsrange=512-32k", "--bs_unaligned=1", "--fsync_on_close=1"),
    ("--rw=randwrite", "--bs=256k", "--size=24M", "--numjobs=1", "--end_fsync=1"),
], ids=["write", "randwrite", "unaligned", "parts"])
@pytest.mark.parametrize("store, write_back", [("oss", "off"), ("s3", "on")], indirect=["store"])
def test_fio_reads_back_what_it_wrote(store, write_back, how):
    with store.mount(write_back=write_back) as mount:
        done = run("fio", "--name=job", f"--directory={mount.path}", *FIO, *how, cwd=store.directory, timeout=180)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "err= 0" in done.stdout


def test_a_stopped_writers_data_is_stored_without_it(emulated):
    """Killing a program closes its files."""
    with emulated.mount() as mount:
        with Program(sys.executable, "-I", "-c", Holder.LOOP, cwd=mount.path, stdin=subprocess.PIPE) as program:
            program.process.stdin.write("file = os.open('f', os.O_RDWR | os.O_CREAT); os.write(file, b'content')\n")
            program.process.stdin.flush()
            assert program.process.stdout.readline() == "ok\n"
            program.signal(9)
            program.finish()
        wait_until(lambda: emulated.stored.keys() == ["f"] and emulated.stored.content("f") == b"content", "the file")
