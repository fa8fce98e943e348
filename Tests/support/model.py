"""Scripts of file operations that run on two trees side by side, and what must be the same on both.

A script is a list of steps, a step a tuple of an operation's name and its arguments: `("write", 2, 1000, 7)`. Open
files are in numbered slots; a step on an empty slot does nothing, so that any part of a script is a script.
"""

import ctypes
import errno
import hashlib
import os
import random
import stat

# Times that scripts set lie before this, all others after it.
NOW = 1_500_000_000
RENAME_NOREPLACE = 1
PUNCH_HOLE, KEEP_SIZE = 2, 1

libc = ctypes.CDLL(None, use_errno=True)


def data(size, tag):
    """The bytes that a step with this tag writes."""
    return random.Random(tag).randbytes(size)


def check(result):
    if result != 0:
        raise OSError(ctypes.get_errno(), "")


def digest(content):
    return f"{len(content)} {hashlib.md5(content).hexdigest()}"


class Side:
    """One of the two trees. Each method is an operation; what it answers must be the same on the other side."""

    def __init__(self, root, is_local):
        self.root = os.fsencode(root)
        self.is_local = is_local
        self.slots = {}

    def run(self, step):
        """What the step answers, or its errno by name."""
        name, *arguments = step
        try:
            return getattr(self, name)(*arguments)
        except OSError as error:
            return errno.errorcode[error.errno]

    def at(self, path):
        return os.path.join(self.root, os.fsencode(path)) if path else self.root

    # -- Open files

    def open(self, slot, path, flags, mode):
        self.close(slot)
        self.slots[slot] = os.open(self.at(path), flags | os.O_CLOEXEC, mode)

    def close(self, slot):
        if slot in self.slots:
            os.close(self.slots.pop(slot))

    def close_all(self):
        return [(slot, self.run(("close", slot))) for slot in sorted(self.slots)]

    def on(self, slot, call, *arguments):
        return call(self.slots[slot], *arguments) if slot in self.slots else None

    def pwrite(self, slot, size, offset, tag):
        return self.on(slot, os.pwrite, data(size, tag), offset)

    def write(self, slot, size, tag):
        return self.on(slot, os.write, data(size, tag))

    def pread(self, slot, size, offset):
        content = self.on(slot, os.pread, size, offset)
        return None if content is None else digest(content)

    def read(self, slot, size):
        content = self.on(slot, os.read, size)
        return None if content is None else digest(content)

    def seek(self, slot, offset, whence):
        return self.on(slot, os.lseek, offset, whence)

    def ftruncate(self, slot, size):
        return self.on(slot, os.ftruncate, size)

    def fallocate(self, slot, mode, offset, size):
        """Room that is only reserved is no change, though some filesystems take it for one."""
        def call(file):
            before = os.fstat(file)
            check(libc.fallocate(file, mode, ctypes.c_long(offset), ctypes.c_long(size)))
            if self.is_local and mode != KEEP_SIZE | PUNCH_HOLE and os.fstat(file).st_size == before.st_size:
                os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        return self.on(slot, call)

    def copy_range(self, source, target, size, offset):
        if source in self.slots and target in self.slots:
            return os.copy_file_range(self.slots[source], self.slots[target], size, 0, offset)
        return None

    def fsync(self, slot):
        return self.on(slot, os.fsync)

    def fstat(self, slot):
        return self.on(slot, lambda file: self.seen(os.fstat(file)))

    def fchmod(self, slot, mode):
        return self.on(slot, os.fchmod, mode)

    def futime(self, slot, seconds):
        return self.on(slot, lambda file: os.utime(file, ns=(seconds * 10**9, seconds * 10**9)))

    # -- Names

    def truncate(self, path, size):
        os.truncate(self.at(path), size)

    def unlink(self, path):
        os.unlink(self.at(path))

    def mkdir(self, path, mode):
        os.mkdir(self.at(path), mode)

    def rmdir(self, path):
        os.rmdir(self.at(path))

    def rename(self, old, new):
        os.rename(self.at(old), self.at(new))

    def rename_to_free(self, old, new):
        check(libc.renameat2(-100, self.at(old), -100, self.at(new), RENAME_NOREPLACE))

    def symlink(self, target, path):
        os.symlink(os.fsencode(target), self.at(path))

    def readlink(self, path):
        return os.readlink(self.at(path))

    def link(self, old, new):
        """Object stores have none: the other side takes it back."""
        os.link(self.at(old), self.at(new))
        if self.is_local:
            os.unlink(self.at(new))
            raise OSError(errno.EPERM, "")

    def chmod(self, path, mode):
        os.chmod(self.at(path), mode)

    def utime(self, path, seconds):
        os.utime(self.at(path), ns=(seconds * 10**9, seconds * 10**9))

    def setxattr(self, path, name, size, tag, flags):
        os.setxattr(self.at(path), name, data(size, tag), flags)

    def getxattr(self, path, name):
        return os.getxattr(self.at(path), name)

    def listxattr(self, path):
        return sorted(name for name in os.listxattr(self.at(path)) if self.is_of_users(name))

    def removexattr(self, path, name):
        os.removexattr(self.at(path), name)

    @staticmethod
    def is_of_users(name):
        return name.startswith("user.") and not name.startswith("user.thaw.")

    # -- Looking

    @staticmethod
    def seen(status):
        """Type, permissions, size, and the time if it was set."""
        mtime = status.st_mtime if status.st_mtime < NOW else "now"
        if stat.S_ISDIR(status.st_mode):
            return ("directory", oct(stat.S_IMODE(status.st_mode)), mtime)
        kind = {stat.S_IFREG: "file", stat.S_IFLNK: "link"}[stat.S_IFMT(status.st_mode)]
        return (kind, oct(stat.S_IMODE(status.st_mode)), status.st_size, mtime if kind == "file" else None)

    def stat(self, path):
        return self.seen(os.stat(self.at(path)))

    def lstat(self, path):
        return self.seen(os.lstat(self.at(path)))

    def access(self, path):
        check(libc.access(self.at(path), os.R_OK))

    def listdir(self, path):
        return sorted(os.listdir(self.at(path)))

    def cat(self, path):
        with open(self.at(path), "rb", buffering=0) as file:
            return digest(file.read())

    def tree(self):
        """All there is: by path its attributes, extended ones too, and its content."""
        found = {}
        pending = [b""]
        while pending:
            directory = pending.pop()
            for name in os.listdir(self.at(directory)):
                path = os.path.join(directory, name)
                looks = self.lstat(path)
                attributes = []
                if looks[0] == "link":
                    content = self.run(("readlink", path))
                else:
                    content = self.run(("cat", path)) if looks[0] == "file" else pending.append(path)
                    attributes = [(name, self.getxattr(path, name)) for name in self.listxattr(path)]
                found[path] = (looks, content, attributes)
        return found


def agree(local, mounted):
    """Whether the mount may answer this where the local tree answered that: a directory's own time, which its entries
    change, is the only difference."""
    if isinstance(local, dict) and isinstance(mounted, dict):
        return local.keys() == mounted.keys() and all(agree(local[path], mounted[path]) for path in local)
    if isinstance(local, tuple) and isinstance(mounted, tuple) and local and local[0] == "directory":
        return local[:2] == mounted[:2] and local[2] in (mounted[2], "now")
    if isinstance(local, tuple) and isinstance(mounted, tuple):
        return len(local) == len(mounted) and all(map(agree, local, mounted))
    return local == mounted


def differences(local, mounted):
    """Two trees' differences, for people."""
    return "\n".join(f"{path}: local {local.get(path)}, mounted {mounted.get(path)}"
                     for path in sorted(local.keys() | mounted.keys())
                     if path not in local or path not in mounted or not agree(local[path], mounted[path]))
