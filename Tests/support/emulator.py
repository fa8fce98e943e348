"""A running `thawfs emulate`, steered through its control endpoint.

    with Emulator(buckets=["bkt"]) as emulator:
        emulator.seed("bkt", count=10, size=4096, storage_class="ColdArchive")
        emulator.advance("12h")

The binary is $THAWFS_BIN, or the debug build of this checkout.
"""

import json
import os
import pathlib
import selectors
import signal
import ssl
import subprocess
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
READY_SECONDS = 20
STOP_SECONDS = 60


def thawfs_binary():
    """The path of the built thawfs; fails when there is none."""
    path = pathlib.Path(os.environ.get("THAWFS_BIN", ROOT / ".build/debug/thawfs"))
    assert path.is_file(), f"{path} is missing: build it first (swift build --product thawfs)"
    return str(path)


class Emulator:
    ACCESS_KEY = "thawfs"
    SECRET_KEY = "thawfs-secret"

    def __init__(self, data=None, buckets=(), arguments=(), tls=None):
        """`tls` is a pair of files: certificate and key."""
        self.command = [thawfs_binary(), "emulate", "--listen", "127.0.0.1:0"]
        if data:
            self.command += ["--data", str(data)]
        if tls:
            self.command += ["--tls-cert", str(tls[0]), "--tls-key", str(tls[1])]
        for bucket in buckets:
            self.command += ["--bucket", bucket]
        self.command += list(arguments)
        self.ca = str(tls[0]) if tls else None
        self.process = None
        self.url = None
        # Those that are mounted.
        self.mounts = []
        # What tests call the operations of a store that has other names for them.
        self.words = {}

    # -- Life

    def start(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        try:
            line = self._ready_line()
            assert line.startswith("listening on "), f"unexpected ready line {line!r}"
        except BaseException:
            self.kill()
            raise
        self.url = line.removeprefix("listening on ").strip()
        return self

    def _ready_line(self):
        line = b""
        deadline = time.monotonic() + READY_SECONDS
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                left = deadline - time.monotonic()
                assert left > 0 and selector.select(left), f"no ready line within {READY_SECONDS} s"
                piece = os.read(self.process.stdout.fileno(), 4096)
                assert piece, f"the emulator ended with {self.process.wait(STOP_SECONDS)} before it was ready"
                line += piece
        return line.decode()

    def stop(self):
        """Stops it with SIGTERM and answers its exit status; kills it when it takes too long."""
        if self.process is None:
            return None
        try:
            self.process.send_signal(signal.SIGTERM)
            return self.process.wait(STOP_SECONDS)
        finally:
            self.kill()

    def kill(self):
        process, self.process = self.process, None
        if process is None:
            return
        if process.poll() is None:
            process.kill()
            process.wait(STOP_SECONDS)
        process.stdout.close()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    @property
    def host(self):
        return self.url.split("//", 1)[1]

    @property
    def port(self):
        return int(self.url.rsplit(":", 1)[1])

    # -- Control

    def control(self, method, name, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/_emulator/{name}", data=data, method=method)
        context = ssl.create_default_context(cafile=self.ca) if self.ca else None
        try:
            with urllib.request.urlopen(request, timeout=120, context=context) as reply:
                return json.load(reply)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {name}: {error.code} {error.read().decode()}") from error

    def clock(self):
        return self.control("GET", "clock")

    def advance(self, span):
        """Moves the archives' clock forward: `90`, `12h`, `2d`."""
        return self.control("POST", "clock", {"advance": span})

    def set_scale(self, scale):
        return self.control("POST", "clock", {"scale": scale})

    def fault(self, effect, **match):
        """Adds one fault: `fault({"status": 503}, op="GetObject", times=2)`.

        It matches by method, op, key and dialect, and strikes `times` times.
        """
        if "op" in match:
            match["op"] = self.words.get(match["op"], match["op"])
        return self.control("POST", "faults", {"effect": effect, **match})

    def clear_faults(self):
        self.control("DELETE", "faults")

    def requests(self):
        """`counts` by operation, `bytes_in`, `bytes_out`, and `requests`, the latest 10,000 as dictionaries."""
        found = self.control("GET", "requests")
        words = {theirs: ours for ours, theirs in self.words.items()}
        found["counts"] = {words.get(op, op): number for op, number in found["counts"].items()}
        for line in found["requests"]:
            line["op"] = words.get(line["op"], line["op"])
        return found

    def clear_requests(self):
        self.control("DELETE", "requests")

    def seed(self, bucket, count=1, size=0, prefix="", storage_class="Standard", pattern="{i:8}"):
        """Creates objects with made-up content; the bucket too. `pattern`: `{i}`, `{i:8}`, `{d}` (thousands)."""
        return self.control("POST", "seed", {
            "bucket": bucket, "count": count, "size": size, "prefix": prefix, "class": storage_class,
            "pattern": pattern,
        })

    def set_archive(self, vault, archive=None, **state):
        """Puts an archive into a `state` (frozen, restoring, restored) `for` a span; without one makes an inventory."""
        return self.control("POST", "job", {"vault": vault, **({"archive": archive} if archive else {}), **state})

    def backup(self, vault, *snapshots, **more):
        """Makes a vault of Cloud Backup, or adds to it. A snapshot is a dictionary: `id`, `files` (each with `path`,
        and `content` or `size`), and how a restore of it goes: `duration`, `ending`, `error`, `failing` (paths).
        """
        return self.control("POST", "backup", {"vault": vault, "snapshots": list(snapshots), **more})

    def set_object(self, bucket, key, **state):
        """Puts an object into a state: `state` (frozen, restoring, restored), `for`, `class`, `archive_status`."""
        return self.control("POST", "object", {"bucket": bucket, "key": key, **state})
