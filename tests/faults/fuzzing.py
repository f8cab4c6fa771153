"""What is thrown at the readers of the product, and what each of them must do with it.

A *target* reads some bytes the way the product does and asserts what was promised of any bytes: an answer or
`Problem`s, in a second of the processor's time and 100 MiB. The inputs are good files broken at random; the
input of a number is always the same one, so that a finding can be had again by its number.
"""

from __future__ import annotations

import atexit
import json
import os
import random
import resource
import string
import tempfile
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from job_orchestration.commands.status import overview
from job_orchestration.config import validation, workspace_defaults, yaml_reader, yaml_writer
from job_orchestration.config.config import Settings
from job_orchestration.diagnostics.errors import WorkspaceError
from job_orchestration.diagnostics.problems import Problem, escaped
from job_orchestration.runs import catalog, event_codec, events, lifecycle, status_file
from job_orchestration.runs.catalog import RunRecord
from job_orchestration.workspace import heartbeats, layout, naming
from job_orchestration.workspace.layout import Place
from job_orchestration.workspace.naming import TokenName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECONDS: Final = 1.0
BYTES: Final = 100 << 20
NOW: Final = datetime(2026, 11, 20, 12, tzinfo=UTC)

FIXTURES = Path(__file__).parent.parent / "fixtures"


def _words(listed: str, *others: str) -> tuple[bytes, ...]:
    return tuple(word.encode() for word in (*listed.split(), *others))


GOOD: Final = b"""\
# An experiment.
githubRepository: https://example.org/you/project.git
pathToTasks: /nowhere/project
outputDir: "{date}/{name}_{time}"
maxAttempts: 5
retryDelay: 1.5h
timeout: 30s
memoryLimit: 8Gi
isolation: fork
overwriteOutputFine: false
seed: 0x10
when: 2026-13-45
learning: {rate: 1e-3, momentum: .5, off: no, clock: 1:30, old: 010, big: 1e308}
genes: [BBS1, 'it''s', "tab\\there", ~, null, true, -.5e+3]
note: |
  several
    lines
folded: >-
  of text
tasks:
  - {id: load, method: LoadGeneset}
  - id: train
    method: package.module:Train
    epochs: 5
    timeout: 4h
"""
CONFIGS: Final = (
    GOOD,
    b"outputDir: a\ntasks: [{id: a, method: 'a:B'}]\n",
    b'{"outputDir": "{commit}/x", "tasks": [{"id": "a", "method": "a:B", "x": [1, [2, {"y": []}]]}]}',
    b"a: &a [lol, lol]\nb: &b [*a, *a]\nc: {<<: *b}\n? [1, 2]\n: !!python/object:os.system x\n--- \nd: e\n",
    b"\xef\xbb\xbfoutputDir: caf\xc3\xa9\r\ntasks:\r\n- id: \xe2\x80\xae\r\n  method: \xf0\x9f\xa7\xac\r\n",
)
YAML_WORDS: Final = _words(
    """[ ] { } : , - ? & * ! | > ' " % @ ` # ~ = <<: *a &a !!str !!binary --- ... \\u0000 \\x \\N id method
    1e999 -.inf .nan 0x 0o8 1_000 9e9999 null yes no on 1:30 2026-13-45 2001-12-14t21:59:43 a:b.c CON
    .. / /etc/passwd ../../x {name} {date} {{ }} ~held ~g000001~w.""",
    *validation.KNOWN_KEYS,
    *("\n", "\n  ", "\t", " ", "\r", "\0", "\x1b[2J", "\x85", "\u2028", "\ud7ff", "\ufeff", "\U0010ffff"),
    *("[" * 40, "{a: " * 40, "- " * 40, "? " * 40, "a: &a\n" * 9, "\n- *a" * 9, "!" * 300, "'" * 99),
    *("é" * 99, "9" * 5000),
)
JOURNALS: Final = tuple(
    b"\n".join(p.read_bytes().strip() for p in sorted(folder.glob("*.jsonl")))
    for folder in sorted(FIXTURES.glob("workspace_format_1/workspace/Output/**/journal"))
)
JSON_WORDS: Final = _words(
    """{ } [ ] , : " \\ null true false NaN Infinity -Infinity 1e999 -1 0 1.5 "" {} [] [[]] "\\ud800"
    "seq" "at" "event" "task" "attempt" "builds_on" "values" "code" "result" "outputs" "outcome" "oom"
    "delay_s" "duration_s" "permanent" "2026-11-20" "0001-01-01T00:00:00+00:00" """,
    *(f'"event": "{kind}"' for kind in event_codec._KINDS),
    *("9" * 400, "9" * 5000, "[" * 2000, '{"a":' * 2000, "\n", "\n\n", "\0", "\x85"),
)
TOKENS: Final = (b"a.yaml", b"a~g000002~lab3.4711.k7f.yaml", b"a~wait20261120T051500Z.yaml", b"a~held.yaml")
TOKEN_WORDS: Final = _words(
    """~ ~g ~held ~wait .yaml .yml .YAML .problems.txt . .. / - _ 000000 999999999999 20261120T051500Z
    99999999T999999Z 00010101T000000Z {name} {time} {x} { } lab.1.abc ² config.yaml journal""",
    *("\n", "\0", "\x1b", "\x7f", "\u202e", " ", "x" * 300, "é" * 90, "a/" * 20, "\uff13"),
)
MISC: Final = (
    b"0# workspace.yaml\nmaxAttempts: 2\ncallbackUrl: https://example.org\n",
    b"11\n",
    (
        b'2{"worker": "lab3.1.abc", "host": "lab3", "pid": 1, "started_at": "2026-11-20T06:15:45+00:00", '
        b'"at": "2026-11-20T06:15:45.6+00:00", "run": "a", "attempt": 1, "task": "b", "done": 1, "total": 4}'
    ),
    b'3[{"run": "a", "token": "a.yaml", "source": "a.yaml", "identity": [1, 2, 3, 4]}]',
)
"""Files that lie beside the runs: the first byte says which one it is."""


def mutated(number: int, target: Target) -> bytes:
    """A good file, broken in a few places; the same for the same number."""
    chance = random.Random(number)
    data = bytearray(chance.choice(target.seeds))
    for _ in range(chance.choice((1, 1, 2, 3, 5, 12))):
        start = chance.randrange(len(data) + 1)
        end = min(len(data), start + chance.choice((0, 1, 1, 3, 10, 60)))
        kind = chance.randrange(8)
        if kind < 3:
            data[start:end] = chance.choice(target.words)
        elif kind == 3:
            data[start:end] = chance.randbytes(chance.randrange(4))
        elif kind == 4:
            del data[start:end]
        elif kind == 5:
            other = chance.choice(target.seeds)
            data[start:] = other[chance.randrange(len(other)) :]
        elif kind == 6:
            data[start:end] = "".join(chance.choices(string.printable, k=3)).encode()
        else:
            most = target.most if chance.random() < 0.02 else 2**9
            data[start:end] = bytes(data[start:end] or b"\n") * (most // max(1, end - start))
    return bytes(data)


# -- the targets --------------------------------------------------------------------------------------------


def reader(data: bytes) -> None:
    """A config: what is wrong with it in sentences, or values that are read back as they are."""
    _judge(validation.read_and_check(data, "a.yaml", "a", {}))


def _judge(checked: validation.Checked) -> None:
    assert all(is_sentence(problem) for problem in checked.problems)
    assert (checked.config is None) == any(problem.is_error for problem in checked.problems)
    if checked.config is None:
        return
    written = yaml_writer.to_yaml(checked.config.values)
    if len(written) <= yaml_reader.MAX_BYTES:
        root, problems = yaml_reader.read(written, "a.yaml")
        assert root is not None
        assert not problems
        assert yaml_reader.plain(root) == checked.config.values
    for commit in (None, "f" * 40):
        run = naming.render_output_dir(checked.config.output_dir, name="a", now=NOW, commit=commit)
        assert isinstance(run, str) or commit, "with a commit it is longer, and may be too long"
        if isinstance(run, str):
            is_inside(run)


def is_sentence(problem: Problem) -> bool:
    """Whether a problem is one line that a terminal may show."""
    line = str(problem)
    return line.isprintable() and line.startswith("a.yaml") and line.endswith((".", "?"))


def is_inside(run: str) -> None:
    """Make sure that a run's folder stays inside Output."""
    path = os.path.normpath(os.path.join("/w/Output", run))
    assert path.startswith("/w/Output/"), run
    assert os.path.join("/w/Output", run) == path, run


def journal_lines(data: bytes) -> None:
    """A journal: some state, which everybody who shows or resumes a run can use."""
    files: list[list[events.JournalEntry]] = [[]]
    for line in filter(None, data.split(b"\n")):
        entry = event_codec.decode(line)
        if entry is None:
            continue
        if isinstance(entry.event, events.Claimed):
            files.append([])
        files[-1].append(entry)
        assert event_codec.decode(event_codec.encode(entry).rstrip(b"\n")) == entry
    state = lifecycle.fold(dict(enumerate(files)))
    lifecycle.next_step(state, Settings(), NOW)
    status_file.status_yaml(state)
    records = [RunRecord("a", place, "/w/a.yaml", "a", state) for place in Place]
    json.dumps(overview(records, NOW).as_json(), allow_nan=False)


def token_name(data: bytes) -> None:
    """A name: a token or not, allowed or refused with a reason, and never outside its folder."""
    name = os.fsdecode(data)
    token = TokenName.parse(name)
    assert token is None or str(token) == name
    assert token is None or "/" not in name
    for fault in (naming.stem_problem(name), naming.fault_of_id(name), naming.fault_of_method(name)):
        assert fault is None or escaped(f"{fault.what}. {fault.todo}.").isprintable()
    for template, stem in ((name, "a"), ("{name}", name)):
        run = naming.render_output_dir(template, name=stem, now=NOW, commit=None)
        if isinstance(run, str):
            is_inside(run)


class Beside:
    """Files that lie beside the runs, in a workspace of their own."""

    def __init__(self) -> None:
        fast = "/dev/shm" if os.path.isdir("/dev/shm") else None
        folder = tempfile.TemporaryDirectory(dir=fast)
        atexit.register(folder.cleanup)
        self._workspace = layout.prepare(folder.name)
        self._files = (
            Path(self._workspace.root, "workspace.yaml"),
            Path(self._workspace.misc, "VERSION"),
            Path(self._workspace.workers, "lab3.1.abc.json"),
            Path(self._workspace.opening, "a.json"),
        )

    def __call__(self, data: bytes) -> None:
        """A workspace with a broken file in it: refused in a sentence, or used."""
        path = self._files[data[0] % 4 if data else 0]
        before = path.read_bytes() if path.exists() else None
        path.write_bytes(data[1:])
        said = ""
        try:
            self._look()
        except WorkspaceError as error:
            said = escaped(str(error))
        finally:
            path.unlink()
            if before is not None:
                path.write_bytes(before)
        assert said.isprintable()

    def _look(self) -> None:
        workspace = layout.locate(self._workspace.root)
        values, problems = workspace_defaults.defaults(workspace)
        assert all(str(problem).isprintable() for problem in problems)
        checked = validation.read_and_check(CONFIGS[1], "a.yaml", "a", values)
        assert all(is_sentence(problem) for problem in checked.problems)
        if not problems:
            _judge(checked)
        found = heartbeats.read(workspace)
        catalog.living_workers(workspace)
        catalog.intended(workspace)
        state = lifecycle.fold({})
        running = [
            RunRecord("a", Place.RUNNING, "/w/a.yaml", "a", state, heartbeat=b) for b in found.values()
        ]
        json.dumps(overview(running, NOW).as_json(), allow_nan=False)


class Target(NamedTuple):
    """A reader, and what its inputs are made of."""

    make: Callable[[], Callable[[bytes], None]]
    seeds: tuple[bytes, ...]
    words: tuple[bytes, ...]
    most: int = 1 << 16
    """How many bytes a repetition may have."""


TARGETS: Final = {
    "reader": Target(lambda: reader, CONFIGS, YAML_WORDS, 1 << 20),
    "journal": Target(lambda: journal_lines, JOURNALS, JSON_WORDS),
    "names": Target(lambda: token_name, TOKENS, TOKEN_WORDS),
    "beside": Target(Beside, MISC, (*JSON_WORDS, *YAML_WORDS)),
}


# -- the limits ---------------------------------------------------------------------------------------------


@contextmanager
def limited() -> Iterator[None]:
    """What happens inside may take so much of the processor and of memory, and fails when it takes more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm", encoding="ascii") as file:
        size = int(file.read().split()[0]) * resource.getpagesize()
    started = time.process_time()
    resource.setrlimit(resource.RLIMIT_AS, (size + BYTES, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    seconds = time.process_time() - started
    assert seconds <= SECONDS, f"it took {seconds:.1f} s"


def throw(target: str, numbers: Iterator[int], seconds: float) -> int:
    """Throw numbered inputs at a target for so long; returns how many.

    Raises:
        AssertionError: with the number of the input that the target could not stand.
    """
    call = TARGETS[target].make()
    end = time.monotonic() + seconds
    count = 0
    for number in numbers:
        if time.monotonic() > end:
            break
        count += 1
        data = mutated(number, TARGETS[target])
        try:
            with limited():
                call(data)
        except Exception as error:
            raise AssertionError(f"{target}, input {number}: {data[:300]!r}: {error!r}") from error
    return count
