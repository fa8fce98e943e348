"""Every system call that would change a mount with `ro` answers EROFS, and the store is asked nothing for it."""

import ctypes
import errno
import os
import stat

import pytest


def check_access(path):
    """access(2) itself: os.access() would hide the errno."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.access(os.fsencode(path), os.W_OK) != 0:
        raise OSError(ctypes.get_errno(), "access")


CALLS = {
    "open for writing": lambda root: os.open(root / "d/f", os.O_WRONLY),
    "open for reading and writing": lambda root: os.open(root / "d/f", os.O_RDWR),
    "open for appending": lambda root: os.open(root / "d/f", os.O_WRONLY | os.O_APPEND),
    "open with O_TRUNC": lambda root: os.open(root / "d/f", os.O_RDONLY | os.O_TRUNC),
    "create": lambda root: os.open(root / "d/new", os.O_WRONLY | os.O_CREAT),
    "create exclusively": lambda root: os.open(root / "d/new", os.O_WRONLY | os.O_CREAT | os.O_EXCL),
    "mkdir": lambda root: os.mkdir(root / "d/new"),
    "mknod": lambda root: os.mknod(root / "d/new", 0o600 | stat.S_IFREG),
    "mkfifo": lambda root: os.mkfifo(root / "d/new"),
    "fifo made by mknod": lambda root: os.mknod(root / "d/new", 0o600 | stat.S_IFIFO),
    "symlink": lambda root: os.symlink("f", root / "d/new"),
    "link": lambda root: os.link(root / "d/f", root / "d/new"),
    "unlink": lambda root: os.unlink(root / "d/f"),
    "rmdir": lambda root: os.rmdir(root / "d/sub"),
    "rename": lambda root: os.rename(root / "d/f", root / "d/new"),
    "rename over another": lambda root: os.rename(root / "d/f", root / "d/g"),
    "rename of a directory": lambda root: os.rename(root / "d/sub", root / "d/new"),
    "chmod": lambda root: os.chmod(root / "d/f", 0o600),
    "chown": lambda root: os.chown(root / "d/f", 1, 1),
    "utime": lambda root: os.utime(root / "d/f", (0, 0)),
    "truncate": lambda root: os.truncate(root / "d/f", 0),
    "chmod of a directory": lambda root: os.chmod(root / "d", 0o700),
    "access W_OK": lambda root: check_access(root / "d/f"),
    "access W_OK of a directory": lambda root: check_access(root / "d"),
    "setxattr": lambda root: os.setxattr(root / "d/f", "user.x", b"1"),
    "removexattr": lambda root: os.removexattr(root / "d/f", "user.x"),
}


def answer(call, root):
    try:
        descriptor = call(root)
    except OSError as error:
        return errno.errorcode[error.errno]
    if descriptor is not None:
        os.close(descriptor)
    return "done"


@pytest.mark.parametrize("options", [["ro"], ["rw", "ro"], ["ro", "default_permissions"]], ids="-".join)
def test_every_change_answers_erofs_and_sends_nothing(mounting, emulator, objects, options):
    for key in ("d/f", "d/g", "d/sub/x"):
        objects.put(key, b"content")
    with mounting(options=dict.fromkeys(options)) as mount:
        for directory, _, files in os.walk(mount.path):
            for name in files:
                os.stat(os.path.join(directory, name))
        with pytest.raises(FileNotFoundError):
            os.stat(mount.path / "d/new")
        emulator.clear_requests()
        calls = CALLS
        if "default_permissions" in options:
            # The kernel itself answers access(2) then, from the mode.
            calls = {name: call for name, call in CALLS.items() if not name.startswith("access")}
        answers = {name: answer(call, mount.path) for name, call in calls.items()}
        assert answers == {name: "EROFS" for name in calls}
        assert emulator.requests()["counts"] == {}
        assert sorted(os.listdir(mount.path / "d")) == ["f", "g", "sub"]
        assert (mount.path / "d/f").read_bytes() == b"content"


def test_shown_attributes_cannot_be_set_and_copies_take_it_calmly(mounting, objects):
    objects.put("f", b"content")
    with mounting() as mount:
        for name in os.listxattr(mount.path / "f"):
            with pytest.raises(OSError) as caught:
                os.setxattr(mount.path / "f", name, b"1")
            assert caught.value.errno == errno.ENOTSUP, name
