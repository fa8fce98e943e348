"""`thawfs mount`: it returns when the mount is usable, in every way a store is reached, or says why it is not.

After a failure nothing is mounted and no process is left.
"""

import os
import pathlib
import signal
import socket
import stat
import subprocess

import pytest

from support.emulator import Emulator, thawfs_binary
from support.mount import KEYS, Mount, is_mounted, lives, processes_naming, wait_until
from support.objects import Objects

pytestmark = pytest.mark.without("oas", why="how a vault is mounted is in test_vaults")

SECONDS = 30
TOKENS = {"oss": "OSS_SESSION_TOKEN", "s3": "AWS_SESSION_TOKEN"}
WITH_TOKENS = pytest.mark.without("cos", why="IBM's keys have no session tokens; its own tokens are in test_cos")
ANYWHERE = pytest.mark.only("s3", why="no store takes part in it")


def run(command, mount):
    return subprocess.run(command, env=mount.env, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=SECONDS)


def refusal(mount, command=None):
    """What a mount that must fail says; nothing of it may stay."""
    done = run(command or mount.command(), mount)
    if done.returncode == 0:
        mount.unmount()
        pytest.fail("the mount should have been refused")
    assert not is_mounted(mount.path), "a mount was left behind"
    wait_until(lambda: not processes_naming(mount.path), "the refused mount's processes to end")
    return done.stderr


@pytest.fixture
def unmounted(mounting):
    """Makes a Mount with its mountpoint, for a test that runs the command itself."""
    def make(*arguments, **options):
        mount = mounting(*arguments, **options)
        mount.path.mkdir(parents=True, exist_ok=True)
        return mount
    return make


# -- It works

def test_it_returns_when_the_mount_is_usable(mounting, objects):
    objects.put("a/b.txt", b"hello")
    with mounting() as mount:
        assert is_mounted(mount.path)
        assert (mount.path / "a/b.txt").read_bytes() == b"hello"


def test_a_prefix_is_a_mounts_root(mounting, objects):
    objects.put("in/side/f", b"inside")
    objects.put("in", b"the prefix itself")
    objects.put("inside", b"beside")
    objects.put("out", b"outside")
    with mounting("in") as mount:
        assert os.listdir(mount.path) == ["side"]
        assert (mount.path / "side/f").read_bytes() == b"inside"
        assert os.getxattr(mount.path / "side/f", "user.thaw.key") == b"in/side/f"


def test_two_prefixes_of_a_bucket_are_two_mounts(emulator, dialect, tmp_path, objects):
    objects.put("one/f", b"1")
    objects.put("two/f", b"2")
    state = {"state_dir": tmp_path / "state"}
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with Mount(emulator, f"{dialect}://bkt/one", tmp_path / "one", options=state) as one:
        with Mount(emulator, f"{dialect}://bkt/two/", tmp_path / "two", options=state) as two:
            assert (one.path / "f").read_bytes() == b"1"
            assert (two.path / "f").read_bytes() == b"2"


@ANYWHERE
def test_a_mountpoint_may_have_blanks_and_be_a_symbolic_link(mounting, objects, tmp_path):
    objects.put("f", b"x")
    mount = mounting()
    mount.path = tmp_path / "a real place"
    mount.path.mkdir()
    (tmp_path / "link").symlink_to(mount.path)
    command = [str(tmp_path / "link") if word == str(mount.path) else word for word in mount.command()]
    try:
        done = run(command, mount)
        assert done.returncode == 0, done.stderr
        assert is_mounted(mount.path)
        assert (tmp_path / "link/f").read_bytes() == b"x"
    finally:
        mount.unmount()


@pytest.mark.parametrize("path_style", ["true", "false"])
def test_the_bucket_goes_into_the_path_or_the_host_name(dialect, tmp_path, path_style):
    with Emulator(buckets=["bkt"]) as emulator:
        Objects(emulator).put("f", b"x")
        options = {"endpoint": f"http://localhost:{emulator.port}", "path_style": path_style}
        with Mount(emulator, f"{dialect}://bkt", tmp_path, options=options) as mount:
            assert (mount.path / "f").read_bytes() == b"x"


def test_a_bucket_in_the_host_name_is_really_there(dialect, tmp_path):
    # Asked as bkt.mid.localhost the emulator serves its bucket bkt.mid; asked by path as mid.localhost, a bucket mid.
    with Emulator(buckets=["bkt.mid"], arguments=["--lenient"]) as emulator:
        Objects(emulator, "bkt.mid").put("f", b"x")
        options = {"endpoint": f"http://mid.localhost:{emulator.port}", "path_style": "false"}
        with Mount(emulator, f"{dialect}://bkt", tmp_path, options=options) as mount:
            assert os.listdir(mount.path) == ["f"]
        mount.options["path_style"] = "true"
        assert "NoSuchBucket" in refusal(mount)


@WITH_TOKENS
def test_a_session_token_is_sent(dialect, tmp_path):
    with Emulator(buckets=["bkt"], arguments=["--session-token", "the-session-token"]) as emulator:
        mount = Mount(emulator, f"{dialect}://bkt", tmp_path, env={TOKENS[dialect]: "the-session-token"})
        with mount:
            assert os.listdir(mount.path) == []
        mount.env[TOKENS[dialect]] = "another-token"
        assert "credentials" in refusal(mount)


def test_signature_v1_is_for_stores_that_sign_no_region(tmp_path):
    with Emulator(buckets=["bkt"], arguments=["--region", "cn-hangzhou"]) as emulator:
        mount = Mount(emulator, "oss://bkt", tmp_path, options={"region": "cn-beijing"})
        mount.path.mkdir()
        refusal(mount)
        mount.options["signature"] = "v1"
        with mount:
            assert os.listdir(mount.path) == []


@pytest.fixture
def certificate(tmp_path):
    """A certificate for 127.0.0.1 that nobody trusts, and its key."""
    files = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-out", files[0],
         "-keyout", files[1]], check=True, capture_output=True, timeout=SECONDS)
    return files


def test_https_is_verified_against_the_named_authorities(dialect, tmp_path, certificate):
    with Emulator(buckets=["bkt"], tls=certificate) as emulator:
        mount = Mount(emulator, f"{dialect}://bkt", tmp_path)
        mount.path.mkdir()
        assert "certificate" in refusal(mount).lower()
        mount.options["ca_file"] = certificate[0]
        with mount:
            assert os.listdir(mount.path) == []


def test_a_wrong_clock_is_corrected_by_the_stores_and_said(mounting, emulator, objects):
    objects.put("f", b"content")
    emulator.fault({"clock_skew": 3600})
    with mounting() as mount:
        assert (mount.path / "f").read_bytes() == b"content"
        warnings = [line for line in mount.log().splitlines() if "clock" in line and "warning" in line.lower()]
        assert len(warnings) == 1, mount.log()


# -- It refuses

def test_a_wrong_secret_is_named_with_the_stores_code(unmounted, dialect):
    text = refusal(unmounted(env={KEYS[dialect][1]: "wrong-secret"}))
    assert "credentials" in text and "SignatureDoesNotMatch" in text
    assert "wrong-secret" not in text


def test_an_unknown_access_key_is_refused(unmounted, dialect):
    assert "InvalidAccessKeyId" in refusal(unmounted(env={KEYS[dialect][0]: "nobody"}))


def test_missing_credentials_say_where_they_are_looked_for(unmounted, dialect, tmp_path):
    mount = unmounted(env={"HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"})
    del mount.env[KEYS[dialect][1]]
    assert KEYS[dialect][1] in refusal(mount)


@WITH_TOKENS
def test_an_expired_token_is_refused_with_its_code(unmounted, emulator):
    emulator.fault({"expired_token": True})
    text = refusal(unmounted())
    assert "credentials" in text and "Token" in text


def test_a_bucket_that_does_not_exist_is_named(emulator, dialect, tmp_path):
    mount = Mount(emulator, f"{dialect}://no-such-bucket", tmp_path)
    mount.path.mkdir()
    text = refusal(mount)
    assert "no such bucket" in text and "no-such-bucket" in text and "NoSuchBucket" in text


def test_an_endpoint_that_does_not_answer_is_named(unmounted):
    text = refusal(unmounted(options={"endpoint": "http://127.0.0.1:1"}))
    assert "cannot reach" in text and "127.0.0.1:1" in text


@ANYWHERE
def test_a_mountpoint_must_exist(mounting):
    assert "does not exist" in refusal(mounting())


@ANYWHERE
def test_a_mountpoint_must_be_a_directory(mounting):
    mount = mounting()
    mount.path.write_text("a file")
    assert "not a directory" in refusal(mount)


@ANYWHERE
def test_a_mountpoint_must_be_free(mounting, tmp_path):
    with mounting() as mount:
        before = processes_naming(mount.path)
        second = run([*mount.command()[:-1], f"{mount.command()[-1]},state_dir={tmp_path / 'other'}"], mount)
        assert second.returncode != 0 and "busy" in second.stderr
        assert is_mounted(mount.path), "the first mount must stay"
        wait_until(lambda: processes_naming(mount.path) == before, "the refused mount's processes to end")
        assert os.listdir(mount.path) == []


@ANYWHERE
def test_a_second_mount_of_the_same_state_names_the_first(mounting, tmp_path):
    with mounting() as mount:
        second = mounting()
        second.path = tmp_path / "second"
        second.path.mkdir()
        text = refusal(second)
        assert str(mount.path) in text and str(mount.pid()) in text
        assert os.listdir(mount.path) == []


@ANYWHERE
@pytest.mark.parametrize("option, expected", [
    ("metadata_ttl=soon", "duration"),
    ("metadata_ttl=", "duration"),
    ("metadata_ttl=-1s", "duration"),
    ("restore_wait=5 minutes", "duration"),
    ("memory=lots", "128M"),
    ("memory=1K", "128M"),
    ("on_frozen=melt", "eagain"),
    ("eagain_at=close", "read"),
    ("restore_tier=Fast", "Bulk"),
    ("restore_days=0", "number of days"),
    ("restore_days=many", "number of days"),
    ("restore_budget=100G", "100G/1d"),
    ("restore_budget=100G/1s", "60s to 31d"),
    ("restore_budget=lots/1d", "a size and a time"),
    ("restore_deny=updatedb::cat", "updatedb:baloo_file"),
    ("restore_deny=/usr/bin/updatedb", "names"),
    ("restore_deny", "names"),
    ("restore_ahead=far", "tree"),
    ("uid=root", "number"),
    ("gid=-1", "number"),
    ("umask=9", "octal"),
    ("path_style=perhaps", "true or false"),
    ("ro=perhaps", "no value"),
    ("signature=v9", "v4"),
    ("log_level=loud", "debug"),
    ("endpoint=http://", "host"),
    ("endpoint=ftp://somewhere", "endpoint"),
    ("endpoint=http://host:port", "port"),
    ("ca_file=/does/not/exist", "ca_file"),
    ("state_dir=relative", "absolute"),
    ("metadata_ttl", "duration"),
    ("colour=blue", "not known"),
])
def test_an_option_that_does_not_parse_is_named_with_what_is_allowed(unmounted, option, expected):
    mount = unmounted()
    command = mount.command()
    text = refusal(mount, [*command[:-1], f"{command[-1]},{option}"])
    assert option.split("=")[0] in text and expected in text


@ANYWHERE
def test_a_variable_that_does_not_parse_is_named(unmounted):
    mount = unmounted(env={"THAWFS_METADATA_TTL": "soon"})
    assert "THAWFS_METADATA_TTL=soon" in refusal(mount)


def test_signature_v1_is_refused_where_there_is_none(emulator, tmp_path):
    mount = Mount(emulator, "s3://bkt", tmp_path, options={"signature": "v1"})
    mount.path.mkdir()
    assert "oss://" in refusal(mount)


@ANYWHERE
@pytest.mark.parametrize("source", [
    "bkt", "ftp://bkt", "oss:/bkt", "oss:///", "s3:///key", "OSS://bkt", "s3://B@d_", "",
])
def test_a_source_that_does_not_parse_is_refused(unmounted, source):
    mount = unmounted()
    command = [source if word == mount.source else word for word in mount.command()]
    text = refusal(mount, command)
    assert "://" in text or "bucket" in text


# -- Where options come from

@ANYWHERE
def test_options_come_from_the_environment(emulator, unmounted, objects):
    objects.put("f", b"x")
    mount = unmounted()
    for name, value in mount.options.items():
        mount.env[f"THAWFS_{name.upper()}"] = str(value)
    mount.env["THAWFS_UMASK"] = "077"
    try:
        done = run(mount.command()[:-2], mount)
        assert done.returncode == 0, done.stderr
        assert stat.S_IMODE((mount.path / "f").stat().st_mode) == 0o700
    finally:
        mount.unmount()


@ANYWHERE
def test_options_may_be_long_options(unmounted, objects):
    objects.put("f", b"x")
    mount = unmounted()
    words = [f"--endpoint={mount.options['endpoint']}", "--region", mount.options["region"],
             "--state-dir", str(mount.state), "--path-style", "--metadata-ttl=5m", "--umask", "027"]
    try:
        done = run([*mount.command()[:-2], *words], mount)
        assert done.returncode == 0, done.stderr
        assert stat.S_IMODE((mount.path / "f").stat().st_mode) == 0o750
    finally:
        mount.unmount()


@ANYWHERE
def test_the_command_line_wins_over_the_environment(mounting):
    environment = {"THAWFS_METADATA_TTL": "soon", "THAWFS_ENDPOINT": "http://127.0.0.1:1", "THAWFS_UMASK": "000"}
    with mounting(options={"metadata_ttl": "1m", "umask": "077"}, env=environment) as mount:
        assert stat.S_IMODE(mount.path.stat().st_mode) == 0o700


@ANYWHERE
def test_the_last_of_two_values_wins(mounting, unmounted):
    mount = unmounted()
    command = mount.command()
    try:
        done = run([*command, "-o", "umask=022", "--umask=077"], mount)
        assert done.returncode == 0, done.stderr
        assert stat.S_IMODE(mount.path.stat().st_mode) == 0o700
    finally:
        mount.unmount()


@ANYWHERE
def test_owner_and_permissions_are_those_asked_for(mounting, objects):
    objects.put("d/f", b"x")
    with mounting(options={"uid": 1234, "gid": 4321, "umask": "027"}) as mount:
        for path, mode in [(mount.path, 0o750), (mount.path / "d", 0o750), (mount.path / "d/f", 0o750)]:
            status = path.stat()
            assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (1234, 4321, mode)


@ANYWHERE
def test_the_words_of_fstab_are_taken(mounting):
    with mounting(options={"defaults": None, "noauto": None, "_netdev": None, "noatime": None, "ro": None,
                           "x-systemd.automount": None}) as mount:
        assert os.listdir(mount.path) == []


@ANYWHERE
def test_mount_thawfs_is_called_as_mount_calls_it(unmounted, tmp_path, objects):
    objects.put("f", b"x")
    mount = unmounted()
    link = tmp_path / "mount.thawfs"
    link.symlink_to(thawfs_binary())
    try:
        done = run([str(link), *mount.command()[2:]], mount)
        assert done.returncode == 0, done.stderr
        assert (mount.path / "f").read_bytes() == b"x"
    finally:
        mount.unmount()


# -- In front, and its end

@ANYWHERE
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_in_front_it_stays_until_a_signal_and_leaves_no_mount(unmounted, objects, number):
    objects.put("f", b"x")
    mount = unmounted()
    with subprocess.Popen([*mount.command(), "-f"], env=mount.env, stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_until(lambda: is_mounted(mount.path), "the mount in front")
            assert (mount.path / "f").read_bytes() == b"x"
            process.send_signal(number)
            assert process.wait(SECONDS) == 0
            assert not is_mounted(mount.path)
            assert "mounted" in process.stderr.read()
        finally:
            process.kill()
            mount.kill()


@ANYWHERE
def test_a_store_that_never_answers_can_be_given_up_on(unmounted):
    mount = unmounted()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        mount.options["endpoint"] = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with subprocess.Popen([*mount.command(), "-f"], env=mount.env, stderr=subprocess.DEVNULL) as process:
            try:
                asked, _ = silent.accept()
                process.send_signal(signal.SIGINT)
                assert process.wait(SECONDS) != 0
                assert not is_mounted(mount.path)
                asked.close()
            finally:
                process.kill()


@ANYWHERE
def test_a_mount_whose_connection_is_aborted_leaves_nothing_behind(mounting, objects):
    objects.put("f", b"x")
    with mounting() as mount:
        pid = mount.pid()
        descriptor = os.open(mount.path / "f", os.O_RDONLY)
        # By force, umount aborts the connection, and then finds the mount busy.
        assert subprocess.run(["umount", "-f", mount.path], stderr=subprocess.PIPE).returncode != 0
        wait_until(lambda: not lives(pid), "the daemon to end")
        assert not is_mounted(mount.path)
        with pytest.raises(OSError):
            os.close(descriptor)


@ANYWHERE
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_daemon_unmounts(mounting, number):
    with mounting() as mount:
        pid = mount.pid()
        os.kill(pid, number)
        wait_until(lambda: not lives(pid), "the daemon to end")
        assert not is_mounted(mount.path)


@ANYWHERE
@pytest.mark.parametrize("words", [["umount"], ["fusermount3", "-u"], [thawfs_binary(), "umount"]],
                         ids=["umount", "fusermount3", "thawfs"])
def test_every_usual_command_unmounts(mounting, words):
    with mounting() as mount:
        pid = mount.pid()
        done = run([*words, str(mount.path)], mount)
        assert done.returncode == 0, done.stderr
        assert not is_mounted(mount.path)
        wait_until(lambda: not lives(pid), "the daemon to end")


@ANYWHERE
def test_an_unmount_with_open_files_fails_and_the_mount_works_on(mounting, objects):
    objects.put("f", b"content")
    with mounting() as mount:
        with open(mount.path / "f", "rb") as file:
            done = run([thawfs_binary(), "umount", str(mount.path)], mount)
            assert done.returncode != 0 and "open" in done.stderr
            assert file.read() == b"content"


@ANYWHERE
def test_unmounting_what_is_not_mounted_says_so(unmounted):
    mount = unmounted()
    done = run([thawfs_binary(), "umount", str(mount.path)], mount)
    assert done.returncode != 0 and "nothing is mounted" in done.stderr


@ANYWHERE
def test_a_dead_mount_is_named_with_its_remedy(mounting):
    with mounting() as mount:
        pid = mount.pid()
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not lives(pid), "the daemon to die")
        done = run(mount.command(), mount)
        assert done.returncode != 0 and "dead mount" in done.stderr and "fusermount3 -u" in done.stderr
        done = run([thawfs_binary(), "umount", str(mount.path)], mount)
        assert done.returncode == 0, done.stderr
        again = mount.mount()
        assert again.returncode == 0, again.stderr
        assert os.listdir(mount.path) == []


@ANYWHERE
def test_a_mount_can_follow_an_unmount_at_once(mounting):
    with mounting() as mount:
        for _ in range(5):
            assert run(["umount", str(mount.path)], mount).returncode == 0
            again = mount.mount()
            assert again.returncode == 0, again.stderr
            assert os.listdir(mount.path) == []


# -- What others may see

@ANYWHERE
def test_the_state_is_for_its_owner_only(mounting, objects):
    objects.put("f", b"x")
    with mounting() as mount:
        os.listdir(mount.path)
        assert stat.S_IMODE(mount.state.stat().st_mode) == 0o700
        inside = {path.name for path in mount.state.glob("*/*")}
        assert {"lock", "log", "metadata.sqlite"} <= inside


@ANYWHERE
def test_the_state_is_private_below_a_directory_that_is_not(mounting):
    mount = mounting()
    mount.state.mkdir(mode=0o755)
    with mount:
        assert [stat.S_IMODE(path.stat().st_mode) for path in mount.state.iterdir()] == [0o700]


@WITH_TOKENS
def test_secrets_are_nowhere_to_be_read(dialect, tmp_path):
    token = "the-session-token-of-the-test"
    with Emulator(buckets=["bkt"], arguments=["--session-token", token]) as emulator:
        mount = Mount(emulator, f"{dialect}://bkt", tmp_path, options={"log_level": "debug"},
                      env={TOKENS[dialect]: token})
        with mount:
            emulator.fault({"status": 403, "code": "AccessDenied"})
            with pytest.raises(OSError):
                os.listdir(mount.path)
            emulator.clear_faults()
            os.listdir(mount.path)
            seen = pathlib.Path(f"/proc/{mount.pid()}/cmdline").read_bytes()
            table = pathlib.Path("/proc/self/mountinfo").read_bytes()
            state = b"".join(path.read_bytes() for path in mount.state.rglob("*") if path.is_file())
            assert state
            for secret in (emulator.SECRET_KEY.encode(), token.encode()):
                assert secret not in seen and secret not in table and secret not in state
