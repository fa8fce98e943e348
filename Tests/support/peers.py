"""Other programs on the emulator's bucket `bkt`: s3fs and rclone, mounted, and the rclone command.

    with S3fs(emulator, tmp_path) as s3fs:
        (s3fs.path / "f").write_bytes(b"content")
    rclone(emulator, "copy", source, "store:bkt/d")
"""

import pathlib
import subprocess
import threading

from .mount import HANG_SECONDS, environment, is_mounted
from .reader import run
from .waiting import wait_until

STOP_SECONDS = 60


class ForegroundMount:
    """A file system that runs in the foreground and is mounted on `path`, a directory below `directory`."""

    def __init__(self, directory, name, env, seconds=HANG_SECONDS):
        self.directory = pathlib.Path(directory)
        self.path = self.directory / name
        self.log = self.directory / f"{name}.log"
        self.env = env
        self.seconds = seconds
        self.process = None

    def command(self):
        raise NotImplementedError

    def pid(self):
        return self.process.pid

    def __enter__(self):
        self.path.mkdir(exist_ok=True)
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(self.command(), env=self.env, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log)
        # When it hangs, every system call on it fails.
        self.watchdog = threading.Timer(self.seconds, self.process.kill)
        self.watchdog.daemon = True
        self.watchdog.start()
        try:
            wait_until(lambda: is_mounted(self.path) or self.process.poll() is not None, f"{self.path} to be mounted")
            assert self.process.poll() is None, f"{self.command()[0]} ended: {self.log.read_text()}"
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """Unmounts, which ends it; ends it by force when that fails, and then fails."""
        self.watchdog.cancel()
        try:
            if is_mounted(self.path):
                done = run("fusermount3", "-u", self.path)
                assert done.returncode == 0, done.stderr
                self.process.wait(STOP_SECONDS)
        finally:
            if self.process.poll() is None:
                self.process.kill()
            self.process.wait(STOP_SECONDS)
            if is_mounted(self.path):
                run("fusermount3", "-u", "-z", self.path)


class S3fs(ForegroundMount):
    def __init__(self, emulator, directory, options=("use_xattr",), **more):
        super().__init__(directory, "s3fs", environment("s3"), **more)
        self.password = self.directory / "passwd-s3fs"
        self.password.write_text(f"{emulator.ACCESS_KEY}:{emulator.SECRET_KEY}\n")
        self.password.chmod(0o600)
        self.options = (f"url={emulator.url}", "use_path_request_style", "endpoint=us-east-1", *options)

    def command(self):
        options = ",".join((f"passwd_file={self.password}", *self.options))
        return ["s3fs", "bkt", str(self.path), "-f", "-o", options]


class RcloneMount(ForegroundMount):
    def __init__(self, emulator, directory, arguments=(), **more):
        super().__init__(directory, "rclone", rclone_environment(emulator), **more)
        self.arguments = ("--cache-dir", str(self.directory / "rclone-cache"), *arguments)

    def command(self):
        return ["rclone", "--config", "/dev/null", "mount", "store:bkt", str(self.path), *self.arguments]


def rclone_environment(emulator):
    """In which the emulator is `store:` for rclone."""
    remote = {
        "TYPE": "s3", "PROVIDER": "Other", "ENDPOINT": emulator.url, "REGION": "us-east-1",
        "FORCE_PATH_STYLE": "true", "ACCESS_KEY_ID": emulator.ACCESS_KEY, "SECRET_ACCESS_KEY": emulator.SECRET_KEY,
    }
    return environment("s3", LC_ALL="C", **{f"RCLONE_CONFIG_STORE_{name}": value for name, value in remote.items()})


def rclone(emulator, *arguments):
    """Runs rclone, for which the emulator is `store:`; answers what it printed."""
    done = run("rclone", "--config", "/dev/null", "--retries", "1", *arguments, env=rclone_environment(emulator))
    assert done.returncode == 0, done.stderr
    return done.stdout
