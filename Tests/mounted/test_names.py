"""Awkward keys: each appears once, under a name that can be read back to its key, with its own content.

None shadows another, none is lost, and none leads out of the mount.
"""

import os
import subprocess
import sys

import pytest

AWKWARD = [
    b"/leading", b"//two", b"a//b", b"a//", b"x/../../etc/passwd", b"../up", b"..", b".", b"./here", b"d/./e", b"d/.",
    b"d/..", b"nul\x00inside", b"n\x00/f",
    b"both", b"both/below", b"both-b", b"both.b", b"both!", b"both//", b"marker/", b"marker/f",
    b"%~escaped", b"%=shadowed", b"%~", b"%=", b"%", b"%%", b"%25", b"%00", b"%2F", b"%#x",
    b".versions", b".versions/f", b"d/.versions", b"%~.versions",
    b"with blank", b" leading blank", b"trailing blank ", b"a+b", b"a&b=c", b"a?b", b"a#b", b"100%", b"new\nline",
    b"tab\there", b"back\\slash", b"quo\"te'", b"*", b"[a]", b"-rf", b"~", b"$HOME", b"`id`", b"c:d", b"<x>", b"]]>",
    "häßlich".encode(), "日本語".encode(), "🧊❄️".encode(), "e\u0301".encode(), "\u00e9".encode(),
    b"s" * 255, b"t" * 256, b"u" * 900, b"u" * 899 + b"v", b"w" * 300 + b"/f", ("é" * 200).encode(),
    b"p" * 254 + "é".encode() + b"q" * 40, b"%" * 130, b"%~" + b"y" * 253, b"deep/" + b"z" * 256 + b"/" + b"z" * 255,
]


def walk(root):
    """Every file below: its key as the attribute says, and its content; every name by lstat and open, in bytes."""
    found = {}
    for directory, _, files in os.walk(os.fsencode(root)):
        names = os.listdir(directory)
        assert len(names) == len(set(names)), f"a name came twice in {directory}"
        for name in files:
            path = os.path.join(directory, name)
            key = os.getxattr(path, "user.thaw.key")
            assert key not in found, f"{key} appears twice"
            with open(path, "rb") as file:
                found[key] = (path, file.read())
    return found


@pytest.fixture
def awkward(objects):
    """The bucket with all awkward keys; their contents are told by their keys."""
    contents = {key: b"content of " + key for key in AWKWARD}
    contents[b"marker/"] = b""
    contents = {key: body for key, body in contents.items() if objects.can_put(key, body)}
    for key, body in contents.items():
        objects.put(key, body)
    return contents


def test_every_key_appears_once_with_its_own_content(mounting, awkward):
    with mounting() as mount:
        found = walk(mount.path)
        # An empty marker is its directory, and nothing besides.
        assert {key: body for key, (_, body) in found.items()} == \
            {key: body for key, body in awkward.items() if key != b"marker/"}
        root = os.fsencode(mount.path) + b"/"
        for path, _ in found.values():
            assert path.startswith(root)
            assert not {b"", b".", b".."} & set(path[len(root):].split(b"/"))
            assert all(len(segment) <= 255 for segment in path.split(b"/"))


def test_names_can_be_looked_up_without_a_listing(mounting, awkward):
    with mounting() as mount:
        paths = {key: path for key, (path, _) in walk(mount.path).items()}
    mount.state = mount.state.with_name("fresh-state")
    mount.options["state_dir"] = mount.state
    with mount:
        for key, path in paths.items():
            with open(path, "rb") as file:
                assert file.read() == awkward[key], path
            assert os.getxattr(path, "user.thaw.key") == key


def test_names_that_no_key_has_are_not_found(mounting, awkward):
    absent = [b"%~plain", b"%=plain", b"%~%7E", b"%=both-b", b"%~both", b"%~u#", b"%~" + b"u" * 219 + b"%#" + b"0" * 32,
              b"%=%25", b"t" * 255, b"%~%zz", b"%~%", b"bot", b"both-", b"nul", b"..."]
    with mounting() as mount:
        for name in absent:
            with pytest.raises(FileNotFoundError):
                os.stat(os.path.join(os.fsencode(mount.path), name))
        with pytest.raises(OSError) as caught:
            os.stat(os.path.join(os.fsencode(mount.path), b"t" * 256))
        assert caught.value.strerror == "File name too long"


def test_a_key_that_is_also_a_prefix_is_both(mounting, awkward):
    with mounting() as mount:
        assert (mount.path / "both").is_dir()
        assert (mount.path / "both/below").read_bytes() == b"content of both/below"
        assert (mount.path / "%=both").read_bytes() == b"content of both"
        names = set(os.listdir(mount.path))
        assert {"both", "%=both", "both-b", "both.b", "both!"} <= names


def test_the_mount_is_not_left_by_any_name(mounting, awkward, tmp_path):
    (tmp_path / "up").write_text("outside the mount")
    with mounting("x") as mount:
        assert [os.path.relpath(path, os.fsencode(mount.path)).count(b"/") for path, _ in walk(mount.path).values()] \
            == [3]
        assert list(walk(mount.path)) == [b"x/../../etc/passwd"]
    with mounting() as mount:
        assert (mount.path / ".." / "up").read_text() == "outside the mount"
        up = [path for key, (path, _) in walk(mount.path).items() if key == b"../up"]
        assert len(up) == 1 and open(up[0], "rb").read() == b"content of ../up"


@pytest.mark.parametrize("place", ["name", "directory"])
def test_every_byte_value_makes_a_name(mounting, objects, place):
    def key(value):
        middle = b"a" + bytes([value]) + b"z"
        return b"bytes/" + middle if place == "name" else b"bytes/" + middle + b"/f"
    contents = {key(value): bytes([value]) * 3 for value in range(256)}
    for name, body in contents.items():
        objects.put(name, body)
    with mounting() as mount:
        assert {name: body for name, (_, body) in walk(mount.path).items()} == contents


def test_one_byte_names_of_every_value(mounting, objects):
    contents = {bytes([value]): b"%d" % value for value in range(256)}
    for name, body in contents.items():
        objects.put(name, body)
    with mounting() as mount:
        assert {name: body for name, (_, body) in walk(mount.path).items()} == contents


def test_tools_that_walk_trees_come_through(mounting, awkward, tmp_path):
    with mounting() as mount:
        out = tmp_path / "copy"
        subprocess.run(["cp", "-r", mount.path, out], check=True, timeout=120, capture_output=True)
        difference = subprocess.run(["diff", "-r", mount.path, out], timeout=120, capture_output=True, text=True)
        assert difference.returncode == 0, difference.stdout + difference.stderr
        files = subprocess.run(["find", mount.path, "-type", "f", "-print0"], check=True, timeout=60,
                               capture_output=True).stdout
        assert files.count(b"\0") == len(awkward.keys() - {b"marker/"})
        archive = subprocess.run(["tar", "-cf", "-", "-C", mount.path, "."], check=True, timeout=120,
                                 capture_output=True).stdout
        assert archive.count(b"content of both/below") == 1


def test_a_name_tells_an_object_from_a_directory_with_many_names_between(mounting, objects):
    objects.put("n", b"object")
    objects.put("n/f", b"below")
    for number in range(150):
        objects.put(f"n-{number:03}", b"between")
    with mounting() as mount:
        assert (mount.path / "n/f").read_bytes() == b"below"
        assert (mount.path / "%=n").read_bytes() == b"object"
        assert (mount.path / "n-149").read_bytes() == b"between"
        assert len(os.listdir(mount.path)) == 152


def test_names_reach_a_program_as_bytes(mounting, objects):
    objects.put(b"\xff\xfe", b"not utf-8")
    with mounting() as mount:
        script = "import os, sys; sys.stdout.buffer.write(os.listdir(os.fsencode(sys.argv[1]))[0])"
        seen = subprocess.run([sys.executable, "-c", script, mount.path], check=True, timeout=60, capture_output=True)
        assert seen.stdout == b"\xff\xfe"
