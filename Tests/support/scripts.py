"""Random scripts for `model`, and the least part of one that still fails."""

import os
import random
import time

from . import model

SLOTS = 5
NAMES = ["a", "b", "c", "d e", "\u00fc"]
MODES = [0o600, 0o644, 0o666, 0o700, 0o755]
ATTRIBUTES = ["user.a", "user.B_c", "user.\u00e9"]


class Sizes:
    """How large the files of a script become."""

    def __init__(self, most, edges):
        self.most = most
        self.edges = edges

    def size(self, source):
        kind = source.random()
        if kind < 0.1:
            return 0
        if kind < 0.3:
            return source.choice(self.edges)
        return int(self.most ** source.random())

    def offset(self, source, end):
        """Somewhere in or around a file of this size."""
        return source.choice([0, end, end // 2, source.randrange(end + 1), end + self.size(source) // 8])


SMALL = Sizes(120_000, [1, 4095, 4096, 4097, 65536, 131072])
# Around the size of an upload's parts, and that up to which there are none.
LARGE = Sizes(24 << 20, [(8 << 20) - 1, 8 << 20, (8 << 20) + 1, 16 << 20, (16 << 20) + 1, 5 << 20, 1])


class Writer:
    """Thinks up one step after the other, from what the local tree has by then."""

    def __init__(self, seed, local, sizes=SMALL, interruptions=()):
        """`interruptions`: pairs of a step such as `("remount",)` and how probable it is."""
        self.source = random.Random(seed)
        self.local = local
        self.sizes = sizes
        self.interruptions = interruptions
        self.pending = []
        self.weights = [(getattr(self, name[1:]), weight) for name, weight in WEIGHTS]

    def step(self):
        if self.pending:
            return self.pending.pop()
        for step, probability in self.interruptions:
            if self.source.random() < probability:
                self.pending.append(("tree",))
                return step
        functions, weights = zip(*self.weights)
        return self.source.choices(functions, weights)[0]()

    # -- Names

    def known(self, wanted=None):
        """The paths that there are, of one type only if that is said: `file`, `directory` or `link`."""
        found = []
        pending = [""]
        while pending:
            directory = pending.pop()
            with os.scandir(self.local.at(directory)) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    path = os.path.join(directory, os.fsdecode(entry.name))
                    kind = "link" if entry.is_symlink() else "directory" if entry.is_dir() else "file"
                    if wanted in (None, kind):
                        found.append(path)
                    if kind == "directory" and path.count("/") < 3:
                        pending.append(path)
        return found

    def any_path(self):
        """A name that may or may not be there, in a directory that mostly is."""
        directory = ""
        if self.source.random() < 0.5:
            directory = self.source.choice(self.known("directory") or [""])
        elif self.source.random() < 0.1:
            directory = self.source.choice(NAMES)
        return os.path.join(directory, self.source.choice(NAMES))

    def path(self, wanted=None):
        """Mostly one that is there."""
        if self.source.random() < 0.85 and (found := self.known(wanted)):
            return self.source.choice(found)
        return self.any_path()

    # -- Slots

    def slot(self):
        """Mostly one that is in use."""
        if self.local.slots and self.source.random() < 0.95:
            return self.source.choice(sorted(self.local.slots))
        return self.source.randrange(SLOTS)

    def end(self, slot):
        descriptor = self.local.slots.get(slot)
        return 0 if descriptor is None else os.fstat(descriptor).st_size

    def look(self, slot):
        """Sometimes a look at what has just been done, through the slot or by name."""
        if self.source.random() < 0.3:
            self.pending.append(("pread", slot, 1 << 26, 0))
        if self.source.random() < 0.2:
            self.pending.append(("fstat", slot))
        if self.source.random() < 0.2:
            self.pending.append(("cat", self.path("file")))

    def tag(self):
        return self.source.randrange(1000)

    # -- Steps

    def open(self):
        flags = self.source.choice([os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_RDWR, os.O_RDWR])
        for flag, probability in ((os.O_CREAT, 0.6), (os.O_TRUNC, 0.2), (os.O_APPEND, 0.2)):
            if self.source.random() < probability:
                flags |= flag
        if flags & os.O_CREAT and self.source.random() < 0.2:
            flags |= os.O_EXCL
        path = self.any_path() if flags & os.O_CREAT else self.path("file")
        return ("open", self.source.randrange(SLOTS), path, flags, self.source.choice(MODES))

    def open_again(self):
        return ("open", self.source.randrange(SLOTS), self.path("file"), os.O_RDWR, 0)

    def make(self):
        """A whole small file, as a shell's `>` makes it."""
        slot = self.source.randrange(SLOTS)
        self.pending = [("close", slot), ("write", slot, self.sizes.size(self.source), self.tag())]
        return ("open", slot, self.any_path(), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)

    def close(self):
        return ("close", self.slot())

    def write(self):
        slot = self.slot()
        self.look(slot)
        return ("write", slot, self.sizes.size(self.source), self.tag())

    def pwrite(self):
        slot = self.slot()
        self.look(slot)
        offset = self.sizes.offset(self.source, self.end(slot))
        return ("pwrite", slot, self.sizes.size(self.source), offset, self.tag())

    def pread(self):
        slot = self.slot()
        return ("pread", slot, self.sizes.size(self.source), self.sizes.offset(self.source, self.end(slot)))

    def read(self):
        return ("read", self.slot(), self.sizes.size(self.source))

    def seek(self):
        slot = self.slot()
        return ("seek", slot, self.sizes.offset(self.source, self.end(slot)), os.SEEK_SET)

    def ftruncate(self):
        slot = self.slot()
        self.look(slot)
        return ("ftruncate", slot, self.sizes.offset(self.source, self.end(slot)))

    def fallocate(self):
        slot = self.slot()
        self.look(slot)
        mode = self.source.choice([0, model.KEEP_SIZE, model.KEEP_SIZE | model.PUNCH_HOLE])
        offset = self.sizes.offset(self.source, self.end(slot))
        return ("fallocate", slot, mode, offset, max(1, self.sizes.size(self.source)))

    def copy_range(self):
        source, target = self.slot(), self.slot()
        self.look(target)
        return ("copy_range", source, target, self.sizes.size(self.source), self.end(target) // 2)

    def fsync(self):
        return ("fsync", self.slot())

    def fstat(self):
        return ("fstat", self.slot())

    def fchmod(self):
        return ("fchmod", self.slot(), self.source.choice(MODES))

    def futime(self):
        slot = self.slot()
        self.pending.append(("fstat", slot))
        return ("futime", slot, 10**9 + self.tag())

    def truncate(self):
        path = self.path("file")
        self.pending.append(("cat", path))
        return ("truncate", path, self.sizes.size(self.source))

    def unlink(self):
        return ("unlink", self.path("link" if self.source.random() < 0.2 else "file"))

    def mkdir(self):
        return ("mkdir", self.any_path(), self.source.choice([0o700, 0o755, 0o777]))

    def rmdir(self):
        return ("rmdir", self.path("directory"))

    def rename(self):
        name = self.source.choice(["rename", "rename", "rename", "rename_to_free"])
        old = self.path()
        new = self.path() if self.source.random() < 0.5 else self.any_path()
        if self.source.random() < 0.05:
            new = os.path.join(old, self.source.choice(NAMES))
        self.pending.append(("tree",) if self.source.random() < 0.2 else ("lstat", new))
        return (name, old, new)

    def symlink(self):
        target = self.source.choice(["", "../"]) + self.source.choice([self.source.choice(NAMES), self.any_path()])
        return ("symlink", target, self.any_path())

    def readlink(self):
        return ("readlink", self.path("link"))

    def link(self):
        return ("link", self.path("file"), self.any_path())

    def chmod(self):
        path = self.path()
        self.pending.append(("stat", path))
        # A directory that cannot be searched would end the script for everybody but root.
        return ("chmod", path, self.source.choice([0o700, 0o755, 0o777, 0o711]))

    def utime(self):
        path = self.path()
        self.pending.append(("stat", path))
        return ("utime", path, 10**9 + self.tag())

    def setxattr(self):
        path = self.path()
        self.pending.append(("listxattr", path))
        flags = self.source.choice([0, 0, os.XATTR_CREATE, os.XATTR_REPLACE])
        return ("setxattr", path, self.source.choice(ATTRIBUTES), self.source.randrange(40), self.tag(), flags)

    def getxattr(self):
        return ("getxattr", self.path(), self.source.choice(ATTRIBUTES))

    def removexattr(self):
        return ("removexattr", self.path(), self.source.choice(ATTRIBUTES))

    def stat(self):
        return (self.source.choice(["stat", "lstat", "access"]), self.path())

    def listdir(self):
        return ("listdir", self.source.choice(["", self.path("directory")]))

    def cat(self):
        return ("cat", self.path("file"))

    def tree(self):
        return ("tree",)


WEIGHTS = [
    ("_open", 10), ("_open_again", 3), ("_make", 8), ("_close", 10), ("_write", 10), ("_pwrite", 12), ("_pread", 5),
    ("_read", 4), ("_seek", 3), ("_ftruncate", 5), ("_fallocate", 3), ("_copy_range", 1), ("_fsync", 3), ("_fstat", 2),
    ("_fchmod", 1), ("_futime", 2), ("_truncate", 3), ("_unlink", 6), ("_mkdir", 8), ("_rmdir", 4), ("_rename", 10),
    ("_symlink", 3), ("_readlink", 2), ("_link", 1), ("_chmod", 2), ("_utime", 2), ("_setxattr", 3), ("_getxattr", 1),
    ("_removexattr", 2), ("_stat", 3), ("_listdir", 3), ("_cat", 5), ("_tree", 2),
]


def minimal(script, fails, seconds):
    """The least part of a failing script that still fails, as far as it is found in this time."""
    deadline = time.monotonic() + seconds
    size = max(1, len(script) // 2)
    while True:
        position = 0
        while position < len(script):
            if time.monotonic() > deadline:
                return script
            shorter = script[:position] + script[position + size:]
            if fails(shorter):
                script = shorter
            else:
                position += size
        if size == 1:
            return script
        size = max(1, size // 2)
