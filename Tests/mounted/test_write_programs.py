"""Ordinary programs write on the mount as they do on a local directory: the same output, the same tree, in the store
and after a remount too."""

import os
import subprocess
import sys

import pytest

from support.emulator import Emulator
from support.model import Side, agree, differences
from support.mount import wait_until
from support.reader import Program, run
from support.stores import EmulatorStore
from support.trees import Trees

pytestmark = pytest.mark.without("oas", why="what is written to a vault cannot be read before it is retrieved")

SECONDS = 180

# Each is a bash script that runs in an empty directory; SOURCE is a directory of all kinds of files, TAR an archive
# of it and BARE a git repository.
PROGRAMS = {
    "cp -a": "cp -a SOURCE copy",
    "cp -r and rm -r": "cp -r SOURCE copy; cp -r copy copy2; rm -r copy",
    "rsync -a": 'rsync -a SOURCE/ copy/; test -z "$(rsync -a --itemize-changes SOURCE/ copy/)"',
    "rsync --inplace": "rsync -a SOURCE/ copy/; echo more >> copy/text; touch -d @1000000099 copy/text;"
                       " rsync -a --inplace --no-whole-file SOURCE/ copy/",
    "rsync --delete": "mkdir copy; echo x > copy/extra; rsync -a --delete SOURCE/ copy/",
    "tar": "tar -xf TAR; tar -df TAR",
    "tar -c": "cp -a SOURCE copy; tar -C copy -cf made.tar .; rm -r copy; mkdir copy; tar -C copy -xf made.tar;"
              " tar -C copy -df made.tar; rm made.tar",
    "zip": "cp -r SOURCE copy; zip -qry made.zip copy; rm -r copy; unzip -q made.zip; unzip -tq made.zip; rm made.zip",
    "gzip": "cp -p SOURCE/text f; gzip -n f; gzip -l f.gz > /dev/null; cp f.gz g.gz; gunzip f.gz",
    "sed -i": "cp SOURCE/text f; sed -i s/line/LINE/ f; sed -i.bak 1d f",
    "ex": "cp SOURCE/text f; vim -es -u NONE -N -c '%s/line/LINE/' -c 'wq' f",
    "vim with a backup": "cp SOURCE/text f; vim -es -u NONE -N --cmd 'set backup writebackup' -c '1d' -c 'wq' f",
    "patch": "cp SOURCE/text f; sed s/7/seven/ f > g; diff -u f g > p || true; rm g; patch -s f p; sed -i 1,2d p",
    "dd conv=notrunc": "cp SOURCE/big f; dd if=SOURCE/text of=f bs=100 seek=7000 conv=notrunc status=none",
    "dd conv=fsync": "dd if=SOURCE/big of=f bs=64k conv=fsync status=none; dd if=f of=g bs=1M oflag=append status=none",
    "truncate": "cp SOURCE/big f; truncate -s 1000 f; truncate -s +5000 f; truncate -s 0 g; truncate -s 3M h",
    "fallocate": "fallocate -l 1M f; cp SOURCE/big g; fallocate -p -o 4096 -l 100000 g; fallocate -n -l 9M g",
    "redirections": "echo one > f; echo two >> f; echo three >> f; echo x > g; : > g; { echo a; echo b; } > h;"
                    " cat f >> h",
    "a redirection into a read file": "cp SOURCE/text f; sort -r -o f f; exec 3<> f; echo changed >&3; exec 3>&-",
    "tee -a": "echo one | tee f > g; echo two | tee -a f g > /dev/null",
    "mv": "cp SOURCE/text f; mv f g; mkdir d; mv g d; mv d e; mv e/g .; echo x > h; mv g h",
    "mv -n": "echo one > f; echo two > g; mv -n f g; cat f g",
    "mv of a tree": "cp -a SOURCE d; mkdir e; mv d e/; mv e/d/deep .; rmdir e/d/empty",
    "install": "install -m 640 SOURCE/text f; install -d -m 750 d/e; install -p -m 755 SOURCE/text d/e/g",
    "touch": "touch f; touch -d @1000000001 f; touch -c g; touch -r f h; mkdir d; touch -d @1000000002 d",
    "ln": "echo x > f; ln -s f g; cat g; ln -sfn d g; readlink g; ln -s /etc/hostname k",
    "find -delete": "cp -r SOURCE d; find d -type f -delete; find d -type l -delete; find d | sort",
    "split and cat": "split -b 300000 SOURCE/big part-; cat part-* > whole; cmp whole SOURCE/big",
    "cp --sparse=always": "cp --sparse=always SOURCE/big f; cmp f SOURCE/big",
    "many small files": "mkdir d; for i in $(seq 150); do echo $i > d/$i; done; cat d/* | sort -n | md5sum",
    "shutil": f"{sys.executable} -I -c 'import shutil; shutil.copytree(\"SOURCE\", \"c\", symlinks=True);"
              " shutil.move(\"c\", \"d\"); shutil.make_archive(\"made\", \"tar\", \"d\"); shutil.rmtree(\"d/deep\")';"
              " tar -tf made.tar | wc -l; rm made.tar",
    "tempfile and replace": f"{sys.executable} -I -c '"
                            "import os, tempfile\n"
                            "for text in (\"one\", \"two\"):\n"
                            "    file, name = tempfile.mkstemp(dir=\".\")\n"
                            "    os.write(file, text.encode()); os.fsync(file); os.close(file)\n"
                            "    os.replace(name, \"f\")'",
    "setfattr": "echo x > f; setfattr -n user.a -v 1 f; setfattr -n user.b -v 2 f; setfattr -x user.a f;"
                " cp -a f g; getfattr -d g | grep -v thaw",
    "chmod": "cp -r SOURCE d; chmod -R u=rwX,go= d; chmod 4711 d/text; stat -c %a d/text",
    "make": "printf 'out: in\\n\\tcp in out\\nall: out\\n\\t@touch all\\n' > Makefile; echo x > in; make; make;"
            " touch -d '1 hour ago' out; make; make -q out",
}


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """The words that stand for what programs read."""
    source = tmp_path_factory.mktemp("sources") / "source"
    (source / "deep/er").mkdir(parents=True)
    (source / "empty").mkdir()
    (source / "text").write_text("".join(f"line {number}\n" for number in range(100)))
    (source / "none").write_bytes(b"")
    (source / "deep/er/name with blanks").write_bytes(os.urandom(70_000))
    (source / "deep/\u00fcml\u00e4ut").write_bytes(b"umlauts")
    (source / "big").write_bytes(os.urandom(600_000) + bytes(200_000))
    (source / "link").symlink_to("text")
    (source / "deep/dangling").symlink_to("../nowhere")
    os.chmod(source / "text", 0o640)
    os.chmod(source / "deep/er/name with blanks", 0o755)
    os.setxattr(source / "text", "user.comment", "gr\u00fcn".encode())
    if os.geteuid() == 0:
        os.chown(source / "big", 1000, 1001)
    for number, path in enumerate(sorted(source.rglob("*"), reverse=True)):
        os.utime(path, (10**9 + number, 10**9 + number), follow_symlinks=False)
    os.utime(source, (10**9, 10**9))
    archive = source.with_suffix(".tar")
    assert run("tar", "-C", source, "-cf", archive, ".").returncode == 0
    return {"SOURCE": source, "TAR": archive}


def script(text, words):
    for word, meaning in words.items():
        text = text.replace(word, str(meaning))
    return ["bash", "-e", "-o", "pipefail", "-c", text]


class Beside:
    """A mount and a local directory, in which programs run in directories of the same name."""

    def __init__(self, store, **options):
        self.store = store
        self.mount = store.mount(**options)
        self.roots = [store.directory / "local", self.mount.path]
        self.names = []

    def __enter__(self):
        self.mount.__enter__()
        self.roots[0].mkdir()
        return self

    def __exit__(self, *what):
        self.mount.__exit__(*what)

    def make(self, name):
        self.name = name
        for root in self.roots:
            (root / name).mkdir()

    def run(self, command, env=None):
        """What both print; both must succeed, and print the same."""
        outputs = []
        for root in self.roots:
            done = run(*command, cwd=root / self.name, env=os.environ | {"LC_ALL": "C"} | (env or {}), timeout=SECONDS)
            assert done.returncode == 0, f"below {root}: {done.stdout}{done.stderr}"
            outputs.append(done.stdout)
        assert outputs[0] == outputs[1]
        return outputs[1]

    def compare(self, name=None):
        """The trees, and what the store has of it."""
        name = name or self.name
        local, mounted = (Side(root / name, True).tree() for root in self.roots)
        assert agree(local, mounted), f"{name}:\n{differences(local, mounted)}"
        wanted = Trees.objects(Side(self.roots[0] / name, True))
        wait_until(lambda: self.store.stored.tree(name + "/") == wanted, "the store to have it all")
        self.names.append(name)

    def remount(self):
        self.mount.unmount()
        done = self.mount.mount()
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module", params=[("oss", "off"), ("s3", "on")], ids=["oss", "s3-write_back"])
def both(request, tmp_path_factory):
    """One mount for all programs. What they left is compared once more at the end, after a remount."""
    dialect, write_back = request.param
    with Emulator(buckets=["bkt"]) as emulator:
        store = EmulatorStore(emulator, dialect, tmp_path_factory.mktemp("both"))
        with Beside(store, write_back=write_back) as pair:
            yield pair
            pair.remount()
            for name in sorted(set(pair.names)):
                pair.compare(name)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda name: name.replace(" ", "_"))
def test_a_program_leaves_what_it_leaves_on_a_local_directory(both, sources, program):
    both.make(program.replace(" ", "_"))
    both.run(script(PROGRAMS[program], sources))
    both.compare()


GIT = {"GIT_AUTHOR_DATE": "1000000000 +0000", "GIT_COMMITTER_DATE": "1000000000 +0000", "GIT_AUTHOR_NAME": "A",
       "GIT_AUTHOR_EMAIL": "a@example.org", "GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@example.org",
       "GIT_CONFIG_NOSYSTEM": "1", "HOME": "/nonexistent"}


@pytest.fixture
def repository(tmp_path_factory, sources):
    """A bare git repository of some commits, for one test: it is pushed to."""
    text = """
    git init -q -b main made; cd made; cp -a SOURCE/. .; git add .; git commit -qm one
    for i in $(seq 20); do echo $i >> text; echo $i > new$i; git add .; git commit -qm "commit $i"; done
    git clone -q --bare . ../bare.git
    """
    directory = tmp_path_factory.mktemp("repository")
    done = run(*script(text, sources), cwd=directory, env=os.environ | GIT, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    return directory / "bare.git"


def test_git_clones_commits_and_packs(both, repository):
    both.make("git")

    def git(text):
        return both.run(["bash", "-e", "-c", text], env=GIT)
    git(f"git clone -q --no-hardlinks {repository} work")
    assert git("cd work; git status --porcelain") == ""
    git("cd work; echo more >> text; git mv new1 moved; git rm -q new2; git commit -qam change; git log --format=%H")
    git("cd work; git checkout -q -b side HEAD~3; echo x > side; git add side; git commit -qm side;"
        " git merge -q -m merge main; git tag v1; git log --format=%H")
    both.remount()
    assert git("cd work; git status --porcelain") == ""
    git("cd work; git gc -q; git fsck --strict --no-progress 2>&1; git log --format=%H --all;"
        " git push -q origin v1 side")


SQLITE = """
import random, sqlite3
source = random.Random(7)
database = sqlite3.connect("db", isolation_level=None)
assert database.execute("pragma journal_mode=delete").fetchone() == ("delete",)
database.execute("create table if not exists t (id integer primary key, a text, b blob)")
for transaction in range(12):
    database.execute("begin immediate")
    for _ in range(200):
        database.execute("insert into t (a, b) values (?, ?)", (str(source.random()), source.randbytes(100)))
    database.execute("update t set a = 'x' where id % 7 = ?", (transaction % 7,))
    database.execute("rollback" if transaction % 4 == 3 else "commit")
database.execute("delete from t where id % 5 = 0")
database.execute("vacuum")
database.close()
"""
SQLITE_CHECK = """
import hashlib, sqlite3
database = sqlite3.connect("db")
print(database.execute("pragma integrity_check").fetchall())
print(hashlib.md5(repr(database.execute("select * from t order by id").fetchall()).encode()).hexdigest())
"""


def test_sqlite_keeps_a_database(both):
    both.make("sqlite")
    for _ in range(2):
        both.run([sys.executable, "-I", "-c", SQLITE])
        assert "('ok',)" in (checked := both.run([sys.executable, "-I", "-c", SQLITE_CHECK]))
        assert os.listdir(both.mount.path / "sqlite") == ["db"]
        both.remount()
        assert both.run([sys.executable, "-I", "-c", SQLITE_CHECK]) == checked


# A mapping that outlives its descriptor, and one that is read through the file.
MMAP = """
import mmap, os
file = os.open("f", os.O_RDWR | os.O_CREAT)
os.ftruncate(file, 300_000)
pages = mmap.mmap(file, 300_000)
pages[0:5] = b"begin"
pages[150_000:150_005] = b"middl"
pages.flush()
os.close(file)
pages[299_995:300_000] = b"ended"
pages.close()
file = os.open("g", os.O_RDWR | os.O_CREAT)
os.write(file, bytes(10_000))
with mmap.mmap(file, 10_000) as pages:
    pages[5_000:5_003] = b"abc"
    assert os.pread(file, 3, 5_000) == b"abc"
os.close(file)
print(open("f", "rb").read().count(0), open("g", "rb").read().count(0))
"""


def test_what_is_written_into_a_mapping_is_in_the_file(both):
    both.make("mmap")
    both.run([sys.executable, "-I", "-c", MMAP])
    both.compare()


LOCK = """
import fcntl, sys
file = open("f", "r+")
{lock}
print("locked", flush=True)
sys.stdin.readline()
"""
LOCKS = {
    "flock": ("fcntl.flock(file, fcntl.LOCK_EX)", "fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)"),
    "fcntl": ("fcntl.lockf(file, fcntl.LOCK_EX, 100, 50)", "fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 100)"),
}


@pytest.mark.parametrize("kind", LOCKS)
def test_locks_keep_other_processes_of_the_mount_out(emulated, kind):
    takes, tries = (LOCK.format(lock=lock) for lock in LOCKS[kind])
    with emulated.mount() as mount:
        (mount.path / "f").write_bytes(bytes(1000))
        with Program(sys.executable, "-I", "-c", takes, cwd=mount.path, stdin=subprocess.PIPE) as holder:
            assert holder.process.stdout.readline() == "locked\n"
            done = run(sys.executable, "-I", "-c", tries, cwd=mount.path)
            assert "BlockingIOError" in done.stderr
            with Program(sys.executable, "-I", "-c", takes, cwd=mount.path, stdin=subprocess.PIPE) as waiter:
                holder.process.stdin.write("\n")
                holder.process.stdin.flush()
                assert waiter.process.stdout.readline() == "locked\n"
        assert run(sys.executable, "-I", "-c", tries, cwd=mount.path).stdout == "locked\n"


def test_hard_links_and_special_files_are_refused_cleanly(emulated):
    with emulated.mount() as mount:
        (mount.path / "f").write_bytes(b"content")
        assert "Operation not permitted" in run("ln", mount.path / "f", mount.path / "g").stderr
        for kind in ("p", "c 1 3"):
            done = run("mknod", mount.path / "special", *kind.split())
            assert done.returncode != 0 and "not permitted" in done.stderr or "not supported" in done.stderr, done
        assert os.listdir(mount.path) == ["f"]
        assert emulated.stored.keys() == ["f"]
