"""The combination: all commands at the same time on one workspace, and kills of every kind of process.

Workers and `watch` run all the time; `ready`, `retry` (bare, ``--commit``, ``--fresh``), `cancel`, `hold`,
`release`, `gc` and `restore` come and go; configs of every kind are dropped: good ones, sweeps and searches,
some that fail until their code is mended, some that are refused, some whose folder is damaged once they are
queued. Victims are chosen evenly by kind; a family is a worker with its fork servers and their children,
killed at once. Others die at chosen writes (`cuts`). `settle` then does what a person would do the next day,
without kills, and `violations` judges raw files alone.
"""

from __future__ import annotations

import itertools
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.faults import cuts, history_checker, promises
from tests.faults.storm import children, left_behind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

IDS: Final = ("one", "two", "three")
COMING: Final = ("ready", "retry", "cancel", "hold", "release", "gc", "restore")
LASTING: Final = ("worker", "watch", "fork server", "child", "delivery", "family")
TASKS: Final = (
    history_checker.NOTE
    + """
import subprocess
import sitecustomize
from job_orchestration import TaskBase

IS_MENDED = False

class Work(TaskBase):
    def __init__(self, config):
        self.config = config

    def run(self):
        task = self.config["id"]
        note("start", self.context, task)
        if self.config.get("orphans"):
            subprocess.Popen(["setsid", "sleep", "1000"])
            sitecustomize.Reached("orphan")
        end = time.monotonic() + self.config["seconds"]
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 0.02))
            note("tick", self.context, task)
        if self.config.get("fails") == task and not IS_MENDED:
            raise ValueError("as the test asked")
        self.context.store.save_json("kept.json", {"pid": os.getpid()})
        note("end", self.context, task)
        return {"pid": os.getpid(), "score": self.config.get("x", 0)}
"""
)
_TEMPORARY: Final = re.compile(r".+\.tmp[0-9]+|.+\.trial|\.copy\.[0-9]+|\..+\.ya?ml\.[0-9]+")
_COMMANDS_AT_ONCE: Final = 2


def plain_user() -> list[str]:
    """The words before a command that take the rights of a privileged user away, if it has any."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        return []
    words = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
    done = subprocess.run([*words, sys.executable, "-c", ""], check=False, capture_output=True, timeout=60)
    return words if done.returncode == 0 else []


class Combination:
    """One play, from the empty workspace to the verdict.

    Args:
        folder: where everything is made.
        kills: how many processes are killed.
        runs: how many good configs of three tasks there are; of the other kinds there are fewer.
        seconds: how long a task takes.
        workers: how many there are at any time.
        seed: of everything that is chosen.
    """

    def __init__(
        self, folder: Path, *, kills: int, runs: int, seconds: float = 0.25, workers: int = 2, seed: int = 1
    ) -> None:
        self.folder = folder
        self.wanted = kills
        self.seconds = seconds
        self.workers = workers
        self.random = random.Random(seed)
        self.workspace = folder / "workspace"
        self.repository = folder / "repository"
        self.events = folder / "events"
        self.events.touch()
        self.log = (folder / "said").open("ab")
        self.kills: Counter[str] = Counter()
        self.cuts = cuts.Cuts(folder)
        self._charged: Counter[int] = Counter()
        """Worker to the number of kills that may have cut one of its attempts short."""
        self.commands: Counter[str] = Counter()
        self.before = plain_user()
        some = max(runs // 6, 2)
        self.good = [f"good{n}" for n in range(runs)]
        self.mended = [f"mended{n}" for n in range(some)]
        self.anew = [f"anew{n}" for n in range(some)]
        self.cancelled = [f"cancelled{n}" for n in range(some)]
        self.damaged = [f"damaged{n}" for n in range(2)]
        self.refused = [f"refused{n}" for n in range(some)]
        self.families = ["sweep", "search"]
        self._to_drop = [
            *(self.good + self.mended + self.anew + self.cancelled + self.damaged + self.refused),
            *self.families,
        ]
        self.random.shuffle(self._to_drop)
        self._to_damage = list(self.damaged)
        self._processes: dict[str, list[subprocess.Popen[bytes]]] = {"worker": [], "watch": [], "command": []}
        self._doomed: list[tuple[float, str, subprocess.Popen[bytes]]] = []
        self.environment = {
            **os.environ,
            "JOB_ORCHESTRATION_WORKSPACE": str(self.workspace),
            "STORM_EVENTS": str(self.events),
            **self.cuts.environment,
        }

    # -- the stage ----------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Make the workspace and the repository."""
        self.repository.mkdir()
        (self.repository / "Tasks.py").write_text(TASKS)
        self._git("init", "-q", "--initial-branch=main")
        self._commit()
        self.command("init")
        (self.workspace / "workspace.yaml").write_text(
            'notify:\n- command: ["/bin/sh", "-c", "sleep 0.1"]\n  on: [completed, failed]\n'
        )

    def _git(self, *words: str) -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        subprocess.run(["git", *who, *words], cwd=self.repository, check=True, timeout=60)

    def _commit(self) -> None:
        self._git("add", ".")
        self._git("commit", "-qm", "tasks")

    def mend(self) -> None:
        """Commit the code in which nothing fails."""
        (self.repository / "Tasks.py").write_text(TASKS.replace("IS_MENDED = False", "IS_MENDED = True"))
        self._commit()

    def drop(self, name: str) -> None:
        """Drop one config, by a rename."""
        kind = name.rstrip("0123456789")
        tasks = "".join(f"- {{id: {task}, method: Work}}\n" for task in IDS)
        more = {
            "good": self._of_good(int(name[4:] or 0)) if name.startswith("good") else "",
            "mended": "fails: two\nmaxAttempts: 1\n",
            "anew": "fails: three\nmaxAttempts: 1\n",
            "cancelled": "seconds: 1\n",
            "damaged": "priority: -1000\n",
            "refused": self.random.choice(["x: [\n", "outputDir: ../out\n", "after: no-run-of-this-name\n"]),
            "sweep": "sweep:\n  grid: {x: [1, 2, 3]}\n",
            "search": "sweep:\n  search:\n    {method: random, n: 4, parallel: 2, metric: three.score,"
            " space: {x: {uniform: [0, 1]}}}\n",
        }[kind]
        usual = {"maxAttempts": 1000, "maxInterruptions": 100_000, "seconds": self.seconds}
        usual["pathToTasks"], usual["outputDir"] = str(self.repository), name
        keys = "".join(f"{k}: {v}\n" for k, v in usual.items() if f"{k}:" not in more)
        temporary = self.folder / "drop"
        temporary.write_text(f"{keys}{more}tasks:\n{tasks}")
        temporary.rename(self.workspace / "ConfigSources" / f"{name}.yaml")

    def _of_good(self, number: int) -> str:
        orphans = "orphans: true\n" if number % 3 == 0 else ""
        return f"{orphans}seconds: {4 * self.seconds}\n" if number % 3 == 1 else orphans

    def _damage(self) -> None:
        for name in list(self._to_damage):
            folder = self.workspace / "Output" / name
            if (self.workspace / "ConfigsToRun" / f"{name}.yaml").exists():
                self._to_damage.remove(name)
                which = "config.yaml" if name.endswith("0") else "journal/000000.jsonl"
                with suppress(FileNotFoundError):
                    (folder / which).write_text("damaged\n")

    # -- commands -----------------------------------------------------------------------------------------

    def _start(self, *words: str) -> subprocess.Popen[bytes]:
        command = [*self.before, sys.executable, "-m", "job_orchestration", *words]
        self.commands[words[0]] += 1
        return subprocess.Popen(
            command,
            env=self.environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
        )

    def command(self, *words: str, limit: float = 240) -> int:
        """One command to its end; returns its exit code."""
        return self._start(*words).wait(limit)

    def _words_of(self, name: str) -> list[str]:
        choose = self.random.choice
        match name:
            case "retry":
                return choose(
                    [
                        ["retry"],
                        ["retry", "--commit", "HEAD"],
                        ["retry", "--fresh", choose(self.anew)],
                        ["retry", "--fresh", "anew*"],
                    ]
                )
            case "cancel":
                return ["cancel", choose(self.cancelled)]
            case "hold" | "release":
                return [name, choose([choose(self.good), "good*1", "mended*"])]
            case "gc":
                return ["gc", "--yes", *choose([[], [choose(self.good)], ["good*2"], ["--keep", "last:3"]])]
            case "restore":
                return ["restore", choose(["*", choose(self.good)])]
            case _:
                return [name]

    # -- the play -----------------------------------------------------------------------------------------

    def play(self, limit: float) -> None:
        """Drop, command and kill until so many were killed and all was dropped."""
        deadline = time.monotonic() + limit
        total = len(self._to_drop)
        is_mended = False
        while (killed := sum(self.kills.values())) < self.wanted or self._to_drop or self._doomed:
            assert time.monotonic() < deadline, f"{killed} of {self.wanted} kills in {limit:g} s"
            self._replace()
            while self._to_drop and total - len(self._to_drop) <= 1.2 * total * killed / self.wanted:
                self.drop(self._to_drop.pop())
            if not is_mended and killed > self.wanted / 2:
                is_mended = True
                self.mend()
            self._damage()
            self._strike(killed)
            self._note_deaths()
            time.sleep(0.02)
        self.cuts.disarm()
        self._end()
        self._note_deaths()
        self.cuts.disarm()

    def _replace(self) -> None:
        for kind, number, words in (("worker", self.workers, ("work",)), ("watch", 1, ("watch",))):
            living = [p for p in self._processes[kind] if p.poll() is None]
            self._processes[kind] = living + [self._start(*words) for _ in range(number - len(living))]
        self._processes["command"] = [p for p in self._processes["command"] if p.poll() is None]

    def _strike(self, killed: int) -> None:
        """Kill what is due, and choose another victim, evenly by kind: its kind comes before its number."""
        for due in [d for d in self._doomed if d[0] <= time.monotonic()]:
            self._doomed.remove(due)
            if due[2].poll() is None:
                self._kill(due[1], due[2].pid)
        if killed + len(self._doomed) >= self.wanted:
            return
        kind = self.random.choice([*COMING, *LASTING])
        if kind in COMING:
            if len(self._processes["command"]) < _COMMANDS_AT_ONCE:
                process = self._start(*self._words_of(kind))
                self._processes["command"].append(process)
                if self.random.random() < 0.75:  # the others end by themselves
                    due = time.monotonic() + self.random.uniform(0.1, 1.2)
                    self._doomed.append((due, kind, process))
            return
        found = self._living(kind)
        if found and min(self.kills[k] for k in (*COMING, *LASTING)) + 3 >= self.kills[kind]:
            self._kill(kind, self.random.choice(found))

    def _note_deaths(self) -> None:
        for family in self.cuts.look():
            self._charged.update(family)
            self.kills["cut"] += 1

    def _kill(self, kind: str, pid: int) -> None:
        above = cuts.parent_of(pid)
        members = [pid]
        if kind == "family":
            servers = [one for one in children(pid) if _is_fork_server(one)]
            members += [*servers, *(child for one in servers for child in children(one))]
        with suppress(ProcessLookupError):
            for member in members:
                os.kill(member, signal.SIGKILL)
            self.kills[kind] += 1
            self._charged.update([pid, above, cuts.parent_of(above)])

    def _living(self, kind: str) -> list[int]:
        parents = [p.pid for p in self._processes["worker"] + self._processes["watch"] if p.poll() is None]
        if kind in {"worker", "watch", "family"}:
            return [
                p.pid for p in self._processes["worker" if kind == "family" else kind] if p.poll() is None
            ]
        if kind == "delivery":
            return [pid for pid, command in self._family() if b"--deliver" in command]
        servers = [pid for parent in parents for pid in children(parent) if _is_fork_server(pid)]
        return servers if kind == "fork server" else [pid for one in servers for pid in children(one)]

    def _family(self) -> Iterator[tuple[int, bytes]]:
        """The processes that carry this workspace in their environment, with their command lines."""
        mark = f"JOB_ORCHESTRATION_WORKSPACE={self.workspace}".encode()
        for name in os.listdir("/proc"):
            with suppress(OSError):
                if name.isdigit() and mark in Path("/proc", name, "environ").read_bytes().split(b"\0"):
                    yield int(name), Path("/proc", name, "cmdline").read_bytes()

    def _end(self) -> None:
        """End what is left, politely."""
        everyone = [p for found in self._processes.values() for p in found]
        for process in everyone:
            process.terminate()
        for process in everyone:
            process.wait(120)

    def abandon(self) -> None:
        """Kill whatever is left of a play that came to no end."""
        self.log.close()
        for found in self._processes.values():
            for process in found:
                process.kill()
                process.wait(60)
        for pid, _ in self._family():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def settle(self) -> None:
        """What a person would do the next day: have everything go on, until nothing is left to do."""
        wanted = [*self.good, *self.mended, *self.anew]
        for _ in range(4):
            self.command("restore", "*")
            self.command("release", "*")
            self.command("ready")
            self.command("retry", "--commit", "HEAD", *(n for n in self._in("Failed") if n in wanted))
            self.command("work", "--until-idle")
            if set(wanted) <= set(self._in("Completed")):
                break
        for path in self.workspace.rglob("*"):  # two days pass
            if _TEMPORARY.fullmatch(path.name):
                then = time.time() - 2 * 86_400
                os.utime(path, (then, then), follow_symlinks=False)
        self.command("gc", "--yes", "--keep", "last:100000")
        self.log.close()

    def _in(self, place: str) -> list[str]:
        return [p.name.partition("~")[0].removesuffix(".yaml") for p in (self.workspace / place).iterdir()]

    # -- the verdict --------------------------------------------------------------------------------------

    def violations(self) -> list[str]:
        """Everything that was promised and did not hold; empty when all is well."""
        return [
            *self._places(),
            *self._histories(),
            *self._left_over(),
            *self._tracebacks(),
            *left_behind(lambda: [f"{pid} {command[:200]!r}" for pid, command in self._family()], 10.0),
        ]

    def _places(self) -> Iterator[str]:
        lying = promises.tokens(self.workspace)
        own = [*self.good, *self.mended, *self.anew, *self.cancelled, *self.damaged, *self.refused]
        for run in sorted({*own, *lying} - {*self.families}):
            if len(lying.get(run, [])) != 1:
                yield f"{run} lies in {lying.get(run, [])}"
        for run in [*self.good, *self.mended, *self.anew]:
            if lying.get(run) != ["Completed"]:
                yield f"{run} has not completed: {lying.get(run)}"
        for run in self.cancelled:
            if lying.get(run) not in (["Completed"], ["Failed"]):
                yield f"{run} has not ended: {lying.get(run)}"
        for run in self.refused:
            problems = self.workspace / "ConfigSources" / f"{run}.yaml.problems.txt"
            if lying.get(run) != ["ConfigSources"] or not problems.exists():
                yield f"{run} was not refused: {lying.get(run)}"
        for family, number in (("sweep", 3), ("search", 4)):
            trials = [run for run in lying if run.startswith(f"{family}/")]
            done = [run for run in trials if lying[run] == ["Completed"]]
            if len(done) != number or len(trials) != number:
                yield f"{family} has {len(done)} completed of {len(trials)} trials, not {number}"

    def _histories(self) -> Iterator[str]:
        trials = [run for run in promises.tokens(self.workspace) if run.startswith(("sweep/", "search/"))]
        runs = [*self.good, *self.mended, *trials]
        whole = history_checker.read(self.workspace, self.events, runs)
        whole.notes = [n for n in whole.notes if n.run in runs]
        yield from history_checker.violations(whole, IDS)
        rest = [*self.anew, *self.cancelled, *self.damaged]  # these may begin from the beginning
        others = history_checker.read(self.workspace, self.events, rest)
        for run in rest:
            yield from (f"{run}: {word}" for word in _overlaps(others.executions(run)))
        lying = promises.tokens(self.workspace)
        for run in [*runs, *self.cancelled]:
            completed = lying.get(run) == ["Completed"]
            yield from promises.of_run(self.workspace / "Output" / run, completed=completed)
        yield from self._cut_short({**whole.journals, **others.journals})

    def _tracebacks(self) -> Iterator[str]:
        """What commands and workers said of faults of their own."""
        said = (self.folder / "said").read_text(errors="replace").splitlines()
        starts = [n for n, line in enumerate(said) if line.startswith("Traceback (most recent call last)")]
        lasts = [next((line for line in said[n + 1 :] if not line.startswith(" ")), "") for n in starts]
        yield from (f"{number} tracebacks: {last}" for last, number in Counter(lasts).items())

    def _cut_short(self, journals: dict[str, history_checker.Lines]) -> Iterator[str]:
        """Attempts that ended in the middle although no process of their worker was killed."""
        found: Counter[int] = Counter()
        runs: dict[int, list[str]] = {}
        for run, attempts in journals.items():
            for number, lines in sorted(attempts.items())[:-1]:
                pid = cuts.pid_of(str(lines[0].get("worker", ""))) if lines else None
                if pid is not None and lines[-1]["event"] in {"task_started", "task_finished"}:
                    found[pid] += 1
                    runs.setdefault(pid, []).append(f"{run}, attempt {number}")
        for pid, number in found.items():
            if number > self._charged[pid]:
                yield f"{number} attempts cut short by {self._charged[pid]} kills: {'; '.join(runs[pid])}"

    def _left_over(self) -> Iterator[str]:
        for path in self.workspace.rglob("*"):
            if _TEMPORARY.fullmatch(path.name):
                yield f"left over: {path.relative_to(self.workspace)}"
        for place in promises.PLACES:
            hidden = [name for name in os.listdir(self.workspace / place) if name.startswith(".")]
            yield from (f"left over: {place}/{name}" for name in hidden)
        opening = os.listdir(self.workspace / "Misc" / "opening")
        yield from (f"left over: Misc/opening/{name}" for name in opening if not name.startswith("."))


def _overlaps(executions: list[history_checker.Execution]) -> Iterator[str]:
    for one, two in itertools.pairwise(executions):
        if two.began < one.last:
            yield f"{one.name} and {two.name} overlap by {(one.last - two.began) / 1e6:.1f} ms"


def _is_fork_server(pid: int) -> bool:
    with suppress(OSError):
        return b"fork_server import main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def summary_of(counter: Counter[str]) -> str:
    """Return counts for a figure, most first."""
    return ", ".join(f"{name} {number}" for name, number in counter.most_common())


def play(folder: Path, *, limit: float, say: Callable[[str], None] = print, **how: object) -> Combination:
    """Play once, and settle; what did not hold is to be asked of the play."""
    combination = Combination(folder, **how)  # type: ignore[arg-type]
    combination.prepare()
    try:
        combination.play(limit)
        combination.settle()
    except BaseException:
        combination.abandon()
        raise
    say(textwrap.shorten(f"kills: {summary_of(combination.kills)}", 500))
    say(textwrap.shorten(f"cuts: {summary_of(combination.cuts.deaths)}", 1000))
    return combination
