"""Other programs on the emulator's bucket `bkt`: s3fs, mounted, and the rclone command.

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

STOP_SECONDS = 20


class S3fs:
    def __init__(self, emulator, directory):
        directory = pathlib.Path(directory)
        self.path = directory / "s3fs"
        self.log = directory / "s3fs.log"
        password = directory / "passwd-s3fs"
        password.write_text(f"{emulator.ACCESS_KEY}:{emulator.SECRET_KEY}\n")
        password.chmod(0o600)
        options = f"passwd_file={password},url={emulator.url},use_path_request_style,endpoint=us-east-1,use_xattr"
        self.command = ["s3fs", "bkt", str(self.path), "-f", "-o", options]

    def __enter__(self):
        self.path.mkdir(exist_ok=True)
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(self.command, env=environment("s3"), stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log)
        # When it hangs, every system call on it fails.
        self.watchdog = threading.Timer(HANG_SECONDS, self.process.kill)
        self.watchdog.daemon = True
        self.watchdog.start()
        try:
            wait_until(lambda: is_mounted(self.path) or self.process.poll() is not None, "s3fs to mount")
            assert self.process.poll() is None, f"s3fs ended: {self.log.read_text()}"
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


def rclone(emulator, *arguments):
    """Runs rclone, for which the emulator is `store:`; answers what it printed."""
    remote = {
        "TYPE": "s3", "PROVIDER": "Other", "ENDPOINT": emulator.url, "REGION": "us-east-1",
        "FORCE_PATH_STYLE": "true", "ACCESS_KEY_ID": emulator.ACCESS_KEY, "SECRET_ACCESS_KEY": emulator.SECRET_KEY,
    }
    settings = {f"RCLONE_CONFIG_STORE_{name}": value for name, value in remote.items()}
    done = run("rclone", "--config", "/dev/null", "--retries", "1", *arguments,
               env=environment("s3", LC_ALL="C", **settings))
    assert done.returncode == 0, done.stderr
    return done.stdout
