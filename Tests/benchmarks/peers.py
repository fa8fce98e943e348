"""The file systems that are compared: thawfs, s3fs, rclone, and a directory of this machine as the floor of FUSE.

All see the same keys. Each has the settings that its manual recommends for the work; docs/performance.md says why. What
a peer could keep on disk it keeps only where `kept` asks for it, in directories that are fresh in each round.
"""

import pathlib
import shutil
import subprocess

from support.mount import Mount, environment
from support.peers import ForegroundMount, RcloneMount, S3fs

HANG_SECONDS = 900

S3FS_OPTIONS = ("parallel_count=8", "multipart_size=10", "max_stat_cache_size=1000000")
# The ETag of an object whose content is made up is not its MD5, which rclone would compare.
RCLONE_ARGUMENTS = ("--read-only", "--use-server-modtime", "--no-checksum")


def thawfs(bench, directory, kept, options):
    return Mount(bench.emulator, "s3://bkt", directory, options)


def s3fs(bench, directory, kept, options):
    cache = (f"use_cache={pathlib.Path(directory) / 's3fs-cache'}",) if kept else ()
    return S3fs(bench.emulator, directory, (*S3FS_OPTIONS, *cache), seconds=HANG_SECONDS)


def rclone(bench, directory, kept, options):
    cache = ("--vfs-cache-mode", "full") if kept else ()
    return RcloneMount(bench.emulator, directory, (*RCLONE_ARGUMENTS, *cache), seconds=HANG_SECONDS)


class Passthrough(ForegroundMount):
    def __init__(self, bench, directory, kind="plain"):
        super().__init__(directory, "passthrough", environment("s3"), seconds=HANG_SECONDS)
        self.program = built_passthrough(bench.directory)
        self.source = bench.local
        self.kind = kind

    def command(self):
        return [str(self.program), str(self.source), self.kind, "-f", str(self.path)]


def passthrough(bench, directory, kept, options):
    return Passthrough(bench, directory)


def built_passthrough(directory):
    """The path of passthrough.c, compiled."""
    program = directory / "passthrough-program"
    if not program.exists():
        flags = subprocess.run(["pkg-config", "--cflags", "--libs", "fuse3"], check=True, stdout=subprocess.PIPE,
                               text=True).stdout.split()
        source = pathlib.Path(__file__).with_name("passthrough.c")
        subprocess.run(["cc", "-std=c11", "-O2", "-Wall", "-o", program, source, *flags, "-pthread"], check=True)
    return program


MOUNTS = {"thawfs": thawfs, "s3fs": s3fs, "rclone": rclone, "passthrough": passthrough}
VERSIONS = {"s3fs": ["s3fs", "--version"], "rclone": ["rclone", "version"], "passthrough": ["fusermount3", "--version"],
            "curl": ["curl", "--version"]}


def installed():
    """Those that can be compared here."""
    return [name for name in MOUNTS
            if name == "thawfs" or shutil.which({"passthrough": "cc"}.get(name, name))]


def version(name):
    done = subprocess.run(VERSIONS[name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.stdout.splitlines()[0].split(" (")[0]
