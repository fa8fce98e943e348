"""A mount and a local directory side by side, on which scripts run in step.

    with Trees(mount, tmp_path / "local", stored) as trees:
        failure = trees.play(script)
"""

import dataclasses
import os
import threading
import time

from .model import Side, agree, differences, digest
from .scripts import Writer, minimal
from .waiting import wait_until

STEP_SECONDS = 60
UPLOAD_SECONDS = 30


@dataclasses.dataclass
class Failure:
    """Where a script's two sides parted."""

    script: list
    local: object
    mounted: object

    def __str__(self):
        if isinstance(self.local, dict) and isinstance(self.mounted, dict):
            return f"{self.script[-1]}:\n{differences(self.local, self.mounted)}"
        return f"{self.script[-1]}: local {self.local}, mounted {self.mounted}"


class Deadline:
    """Kills the daemon when one step takes too long, so that the step fails instead of the whole run hanging."""

    def __init__(self, mount):
        self.mount = mount
        self.since = None
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def watch(self):
        while not self.ended.wait(1):
            since = self.since
            if since is not None and time.monotonic() - since > STEP_SECONDS:
                self.since = None
                self.mount.kill()

    def __enter__(self):
        self.since = time.monotonic()

    def __exit__(self, *_):
        self.since = None

    def end(self):
        self.ended.set()
        self.thread.join()


class Trees:
    """`mount` is mounted and unmounted here; `stored(prefix)` answers what the store has below a prefix, by path."""

    def __init__(self, mount, local, stored):
        self.mount = mount
        self.local = local
        self.stored = stored
        self.count = 0
        self.finished = []

    def __enter__(self):
        self.local.mkdir()
        self.mount.__enter__()
        self.deadline = Deadline(self.mount)
        return self

    def __exit__(self, kind, *_):
        self.deadline.end()
        if kind is None:
            self.mount.__exit__()
        else:
            self.mount.watchdog.cancel()
            self.mount.kill()

    # -- One script

    def begin(self):
        """A directory of its own for a script, in both trees, and one above it that links may lead to."""
        self.count += 1
        self.prefix = f"{self.count}/root"
        os.makedirs(self.local / self.prefix)
        os.makedirs(self.mount.path / self.prefix)
        self.sides = Side(self.local / self.prefix, True), Side(self.mount.path / self.prefix, False)

    def step(self, step):
        """What each side answers."""
        with self.deadline:
            if step[0] in ("remount", "kill"):
                return self.interrupt(step[0])
            return tuple(side.run(step) for side in self.sides)

    def interrupt(self, how):
        answers = tuple(side.close_all() for side in self.sides)
        if how == "kill":
            self.mount.kill()
        else:
            self.mount.unmount()
        done = self.mount.mount()
        return answers if done.returncode == 0 else (0, done.stderr)

    def run(self, steps):
        """Runs steps until one fails: answers the failure, or None."""
        script = []
        for step in steps:
            script.append(step)
            local, mounted = self.step(step)
            if not agree(local, mounted):
                return Failure(script, local, mounted)
        return None

    def finish(self, seconds=UPLOAD_SECONDS):
        """Closes everything, and compares the trees, and then the store with them."""
        local, mounted = (side.close_all() for side in self.sides)
        if local != mounted:
            return Failure([("close_all",)], local, mounted)
        if failure := self.run([("tree",)]):
            return failure
        wanted = self.objects(self.sides[0])
        try:
            wait_until(lambda: self.stored(self.prefix + "/") == wanted, "the store to have it all", seconds)
        except AssertionError:
            return Failure([("store",)], wanted, self.stored(self.prefix + "/"))
        self.finished.append((self.prefix, local))
        return None

    @staticmethod
    def objects(side):
        """What the store ought to have: the files and links by path, and the directories."""
        found = {}
        for path, (looks, content, _) in side.tree().items():
            path = os.fsdecode(path)
            if looks[0] == "directory":
                found[path + "/"] = "directory"
            else:
                # A link's object has its target as content.
                found[path] = content if looks[0] == "file" else digest(content)
        return found

    def play(self, script, seconds=UPLOAD_SECONDS):
        """Runs a script on fresh directories; answers its failure or None. `seconds`: for the uploads at the end."""
        self.revive()
        self.begin()
        try:
            return self.run(script) or self.finish(seconds)
        finally:
            self.drop()

    def drop(self):
        for side in self.sides:
            side.close_all()

    def revive(self):
        """Mounts again where the last script left no daemon."""
        if self.mount.pid() is None:
            self.mount.kill()
            done = self.mount.mount()
            assert done.returncode == 0, done.stderr

    # -- Many scripts

    def explore(self, seed, steps, seconds=90, **how):
        """A random script of so many steps; fails with the least part of it that fails."""
        self.revive()
        self.begin()
        try:
            writer = Writer(seed, self.sides[0], **how)
            script = []
            failure = self.run(self.recorded(writer, steps, script)) or self.finish()
        finally:
            self.drop()
        if failure:
            first = str(failure)
            least = minimal(script, lambda part: self.play(part, UPLOAD_SECONDS / 10) is not None, seconds)
            last = self.play(least)
            text = "\n".join(f"    {step}," for step in least)
            raise AssertionError(f"seed {seed}: {first}\nThis fails too, with {last or 'nothing, the last time'}\n"
                                 f"SCRIPT = [\n{text}\n]")

    @staticmethod
    def recorded(writer, steps, script):
        for _ in range(steps):
            step = writer.step()
            script.append(step)
            yield step

    def compare_finished(self):
        """Compares the trees of the scripts so far once more, after a remount."""
        self.interrupt("remount")
        for prefix, _ in self.finished:
            local = Side(self.local / prefix, True).tree()
            with self.deadline:
                mounted = Side(self.mount.path / prefix, False).tree()
            assert agree(local, mounted), f"{prefix} after a remount:\n{differences(local, mounted)}"
        self.finished = []
