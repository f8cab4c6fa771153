"""Deaths at chosen writes: the process of the product that comes to an armed write is killed there.

Kills at random moments hardly ever fall between two writes that follow one another within a millisecond,
which is where most protocols have their weak places. So a play arms one place after the other; the first
process that comes to it takes the order, which is one rename, and dies there, together with its parents if a
whole family is to die. The programs get this through a ``sitecustomize``.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections import Counter
from pathlib import Path
from typing import Final, NamedTuple

SITE: Final = '''
import json, os, re, signal

_FOLDER = os.environ.get("STORM_CUTS")
_ARMED = os.path.join(_FOLDER or "", "armed")


def parent_of(pid):
    with open(f"/proc/{pid}/stat", "rb") as file:
        return int(file.read().rpartition(b") ")[2].split()[1])


def take(when, operation):
    """Whether this write is the armed one, and this process the first to come to it."""
    try:
        with open(_ARMED, "rb") as file:
            order = json.load(file)
    except (OSError, ValueError):
        return None
    if (
        order["when"] != when
        or order["operation"] != operation.name
        or not re.search(order["path"], operation.path)
        or not re.search(order["data"].encode(), operation.data)
    ):
        return None
    mine = os.path.join(_FOLDER, f"mine.{os.getpid()}")
    try:
        os.rename(_ARMED, mine)
    except OSError:
        return None
    return order, mine


def die(order, mine):
    family = [os.getpid(), os.getppid(), parent_of(os.getppid())]
    with open(mine, "w") as file:
        json.dump({"name": order["name"], "family": family}, file)
    os.rename(mine, os.path.join(_FOLDER, f"done.{os.getpid()}"))
    for pid in reversed(family if order["family"] else family[:1]):
        os.kill(pid, signal.SIGKILL)


class Reached:
    """A place that is no write of `durable`."""

    def __init__(self, name, path=""):
        self.name, self.path, self.data = name, path, b""
        if _FOLDER and (taken := take("before", self)):
            die(*taken)


def intercept(operation, call):
    if taken := take("before", operation):
        die(*taken)
    found = call()
    if taken := take("after", operation):
        die(*taken)
    return found


if _FOLDER:
    from job_orchestration.workspace import durable

    durable.intercept = intercept
    rename = os.rename

    def renamed(source, target, **more):
        if isinstance(target, str):
            Reached("view", target)
        return rename(source, target, **more)

    os.rename = renamed
'''


class Place(NamedTuple):
    """A write at which a process dies."""

    name: str
    when: str
    operation: str
    path: str = ""
    """A pattern that the path contains."""
    data: str = ""
    """A pattern that the appended bytes contain."""
    family: bool = False
    """Whether the two processes above die as well: those of a task's process are fork server and worker."""


PLACES: Final = (
    Place("family with a checkpoint", "after", "append", data='"task_finished"', family=True),
    Place("worker with two names of a token", "after", "link", r"/(Completed|Failed)/"),
    Place("ready with token and drop", "after", "link", r"/ConfigsToRun/[^~]*$"),
    Place("family with an orphan", "before", "orphan", family=True),
    Place("family in a task", "after", "append", data='"task_started"', family=True),
    Place("ready with a drop aside", "after", "rename", r"/ConfigSources/\.[^/]*~queued$"),
    Place("worker with a claim", "after", "rename", r"/Running/"),
    Place("child before a checkpoint", "before", "append", data='"task_finished"'),
    Place("writer of a status file", "before", "view", r"/Output/.*/status\.yaml$"),
    Place("holder that releases", "after", "link", r"/ConfigsToRun/[^/]*~[^/]*$"),
    Place("retry with its event", "after", "append", data='"requeued"'),
    Place(
        "family with its outputs in place", "after", "rename", r"/Output/[^/]*/(one|two|three)$", family=True
    ),
    Place("worker with a new journal file", "after", "create", r"/journal/"),
    Place("gc in the trash", "after", "rename", r"/Misc/trash/"),
    Place("restore", "after", "unlink", r"/Misc/trash/"),
    Place("opening an intent", "after", "create", r"/Misc/opening/"),
    Place("search", "after", "append", r"/Misc/searches/"),
    Place("worker with a last event", "after", "append", data='"completed"'),
)
_TIRED: Final = 1.5
"""Seconds after which another place is armed, if no process came to this one."""


class Cuts:
    """The places of one play.

    Args:
        folder: where everything is made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "cuts"
        self.folder.mkdir()
        self._armed = self.folder / "armed"
        (folder / "site").mkdir()
        (folder / "site" / "sitecustomize.py").write_text(SITE)
        paths = [str(folder / "site"), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.environment = {"STORM_CUTS": str(self.folder), "PYTHONPATH": os.pathsep.join(paths)}
        self._next = 0
        self._since = 0.0
        self.deaths: Counter[str] = Counter()
        """By the name of the place."""

    def look(self) -> list[list[int]]:
        """Arm the next place if it is time; return the families of those that died since the last look."""
        families = []
        for path in self.folder.glob("done.*"):
            found = json.loads(path.read_text())
            path.unlink()
            self.deaths[found["name"]] += 1
            families.append(found["family"])
        if not self._armed.exists() or time.monotonic() - self._since > _TIRED:
            temporary = self.folder / "next"
            temporary.write_text(json.dumps(PLACES[self._next % len(PLACES)]._asdict()))
            temporary.rename(self._armed)
            self._next, self._since = self._next + 1, time.monotonic()
        return families

    def disarm(self) -> None:
        """Let everybody live."""
        self._armed.unlink(missing_ok=True)


def parent_of(pid: int) -> int:
    """The parent of a process; 0 if it is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2].split()[1])
    except OSError:
        return 0


def pid_of(worker: str) -> int | None:
    """The process in a worker's name, which ends with random letters; of a command's there is none."""
    found = re.fullmatch(r".*\.([0-9]+)\.([a-z0-9]{3})", worker)
    return int(found[1]) if found else None
