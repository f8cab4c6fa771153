"""Anything at all is thrown at whatever reads: it answers by a value or `Problem`s, soon, in little memory.

The short form has numbered inputs, the same in every run, and Hypothesis; the long form a million, found
by libFuzzer where `atheris` can be installed. It goes on where it was stopped: the chunks that are done, and
what was learnt, are kept in ``.soak/F11``.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from job_orchestration.commands.check import examine
from job_orchestration.config import validation, yaml_reader
from job_orchestration.submission.checker import Checker
from job_orchestration.submission.pipeline import ready_drops
from job_orchestration.workspace import layout
from tests.faults import fuzzing
from tests.faults.figures import figure
from tests.faults.workspace_files import names, tree

# -- the short form ---------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("target", "seconds"), [("reader", 10), ("journal", 7), ("names", 3), ("beside", 5)])
def test_whatever_is_read_the_answer_is_a_value_or_problems(target, seconds):
    count = fuzzing.throw(target, itertools.count(), seconds)
    figure("F11", f"inputs to {target}", count)
    assert count > 100


@settings(max_examples=1000, deadline=None)
@given(st.binary(max_size=300) | st.text(max_size=200).map(str.encode))
def test_whatever_the_bytes_of_a_config_the_answer_is_a_config_or_problems(data):
    with fuzzing.limited():
        fuzzing.reader(data)


texts = st.text(max_size=12) | st.sampled_from([word.decode() for word in fuzzing.YAML_WORDS])
numbers = st.integers() | st.floats() | st.just(10**4000)
hostile = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)
tasks = st.lists(
    st.dictionaries(st.sampled_from(["id", "method", "timeout", "x"]), hostile, max_size=4), max_size=4
)
configs = st.fixed_dictionaries(
    {"outputDir": st.just("{date}/{name}") | texts, "tasks": tasks | hostile},
    optional=dict.fromkeys(set(validation.KNOWN_KEYS) - {"outputDir", "tasks"}, hostile),
)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(configs, st.booleans())
def test_whatever_the_values_of_a_config_the_answer_is_a_config_or_problems(config, as_json):
    written = json.dumps(config) if as_json else yaml.dump(config, Dumper=yaml.CDumper)
    with fuzzing.limited():
        fuzzing.reader(written.encode("utf-8", "surrogatepass"))


def test_the_same_inputs_are_too_much_for_a_reader_that_is_less_strict():
    def lenient(data: bytes) -> None:
        with suppress(yaml.YAMLError):
            yaml.safe_load(data)

    fuzzing.TARGETS["lenient"] = fuzzing.TARGETS["reader"]._replace(make=lambda: lenient)
    try:
        with pytest.raises(AssertionError, match="lenient, input"):
            fuzzing.throw("lenient", itertools.count(), 10)
    finally:
        del fuzzing.TARGETS["lenient"]


def endless() -> None:
    end = time.process_time() + 1.3
    while time.process_time() < end:
        pass


@pytest.mark.parametrize("wasteful", [lambda: bytearray(200 << 20), endless], ids=["memory", "time"])
def test_what_takes_too_much_is_seen(wasteful):
    with pytest.raises((MemoryError, AssertionError)), fuzzing.limited():
        wasteful()


# -- ready ------------------------------------------------------------------------------------------------


FUZZ_TASKS = """
from job_orchestration import TaskBase

class B(TaskBase):
    def __init__(self, config):
        self.config = config

    def validate(self):
        return [str(self.config["x"])] if "x" in self.config else []

    def run(self):
        pass
"""


def broken_configs(count: int, first: int, repository: Path) -> dict[str, bytes]:
    """Broken configs under broken names, as many as that."""
    seeds = (
        b"outputDir: '{name}'\ntasks: [{id: a, method: 'fuzz_tasks:B'}, {id: b, method: 'fuzz_tasks:B'}]\n",
        f"pathToTasks: {repository}\noutputDir: x/{{name}}\ntasks:\n- id: a\n  method: B\n".encode(),
        b"outputDir: y/{name}\nx: [1, {y: 1e-3}]\ntasks:\n- {id: a, method: 'fuzz_tasks:B'}\n",
    )
    contents = fuzzing.TARGETS["reader"]._replace(seeds=seeds)
    found: dict[str, bytes] = {}
    for number in range(first, first + count):
        name = (
            os.fsdecode(fuzzing.mutated(number, fuzzing.TARGETS["names"])).replace("/", "").replace("\0", "")
        )
        if number % 3 or not name or len(os.fsencode(name)) > 240:
            name = f"n{number}.yaml"
        name += "" if name.endswith((".yaml", ".yml")) else ".yaml"
        name = os.fsdecode(os.fsencode(name))
        found[name] = fuzzing.mutated(number, contents) if number % 5 else random.Random(number).choice(seeds)
    return found


def ready_a_batch(folder: Path, first: int, count: int) -> dict[str, int]:
    """Ready broken drops in a workspace of their own; how many were queued and refused."""
    root = Path(layout.prepare(str(folder / "workspace")).root)
    workspace = layout.locate(str(root))
    dropped = broken_configs(count, first, folder / "repository")
    for name, data in dropped.items():
        (root / "ConfigSources" / name).write_bytes(data)
    outside = {path: tree(folder / path) for path in ("repository", "site")}
    before = tree(root)
    examined = {e.file: e.is_fine for e in examine(workspace)}
    after = tree(root)
    assert {k: v for k, v in after.items() if not k.startswith("Misc")} == {
        k: v for k, v in before.items() if not k.startswith("Misc")
    }
    check = Checker(workspace)
    try:
        report = ready_drops(workspace, check, lambda *_: True)
    finally:
        check.close()
    meant = {name for name in dropped if not name.startswith(".")}
    queued = {q.file: q for q in report.queued}
    assert not report.unsettled
    assert queued.keys() | report.refused.keys() == meant == examined.keys()
    assert queued.keys() == {name for name, fine in examined.items() if fine}
    for name, data in dropped.items():
        source = root / "ConfigSources" / name
        if name in queued:
            assert not source.exists()
            token = (root / "ConfigsToRun" / queued[name].token).read_bytes()
            assert token == (root / "Output" / queued[name].run / "config.yaml").read_bytes()
            assert yaml_reader.read(token, name)[1] == []
        else:
            assert source.read_bytes() == data, "a file stays where its owner put it, as it is"
    for problems in report.refused.values():
        assert problems
        assert all(str(p).isprintable() and str(p).endswith((".", "?")) for p in problems)
    assert len(names(root, "ConfigsToRun")) == len(queued)
    assert {path: tree(folder / path) for path in outside} == outside
    shutil.rmtree(root)
    return {"queued": len(queued), "refused": len(report.refused)}


@pytest.fixture
def scene(tmp_path, repository, monkeypatch):
    """A folder with a repository, and tasks that can be imported."""
    repository(FUZZ_TASKS)
    site = tmp_path / "site"
    site.mkdir()
    (site / "fuzz_tasks.py").write_text(FUZZ_TASKS)
    monkeypatch.setenv("PYTHONPATH", f"{site}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    return tmp_path


def test_ready_queues_or_refuses_whatever_is_dropped(scene):
    seen = ready_a_batch(scene, 0, 200)
    figure("F11", "broken drops readied", seen)
    assert min(seen.values()) > 10


# -- the long form ----------------------------------------------------------------------------------------

KEPT = Path(__file__).parents[2] / ".soak" / "F11"
CHUNK = 50_000
CHUNKS = [*["reader"] * 13, *["journal"] * 4, *["names"] * 2, *["beside"] * 1]
AT_ONCE = 2


def site_of_atheris() -> str:
    """Where atheris is installed, or nothing where it cannot be."""
    site = KEPT / "site"
    if not site.exists():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(site), "atheris"]
        subprocess.run(command, check=False, timeout=600)
    return str(site)


class Searches:
    """The chunks that are being searched, a process each."""

    def __init__(self) -> None:
        path = f"{site_of_atheris()}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
        self._environment = {**os.environ, "PYTHONPATH": path}
        self._working: dict[int, tuple[subprocess.Popen[bytes], float]] = {}

    def __len__(self) -> int:
        return len(self._working)

    def begin(self, number: int) -> None:
        program = str(Path(fuzzing.__file__).parent / "guided_fuzzing.py")
        target = CHUNKS[number]
        words = (program, target, str(KEPT / target), str(CHUNK), str(number + 1))
        with (KEPT / f"log.{number}").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, *words], env=self._environment, stdout=log, stderr=subprocess.STDOUT
            )
        self._working[number] = process, time.monotonic()

    def look(self) -> None:
        """Note the chunks that are done; one that found something fails."""
        for number, (process, began) in list(self._working.items()):
            if process.poll() is None:
                continue
            del self._working[number]
            seconds = time.monotonic() - began
            assert process.returncode == 0, (KEPT / f"log.{number}").read_text(errors="replace")[-3000:]
            (KEPT / f"done.{number}").write_text(str(seconds))
            rate = CHUNK / seconds
            print(f"chunk {number} of {len(CHUNKS)}, {CHUNKS[number]}: {rate:.0f} inputs/s", flush=True)

    def end(self) -> None:
        for process, _ in self._working.values():
            process.kill()
            process.wait()


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_a_million_inputs_find_nothing():
    KEPT.mkdir(parents=True, exist_ok=True)
    waiting = [n for n in range(len(CHUNKS)) if not (KEPT / f"done.{n}").exists()]
    searches = Searches()
    try:
        while waiting or len(searches):
            while waiting and len(searches) < AT_ONCE:
                searches.begin(waiting.pop(0))
            time.sleep(0.1)
            searches.look()
    finally:
        searches.end()
    spent = sum(float((KEPT / f"done.{n}").read_text()) for n in range(len(CHUNKS)))
    figure("F11", "inputs", CHUNK * len(CHUNKS))
    figure("F11", "inputs a second and process", round(CHUNK * len(CHUNKS) / spent))
    figure("F11", "guided by branches", (KEPT / "site" / "atheris").exists())
    for done in KEPT.glob("done.*"):
        done.unlink()


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_ready_queues_or_refuses_thousands_of_broken_drops(scene):
    total = {"queued": 0, "refused": 0}
    for first in range(1000, 6000, 250):
        for what, count in ready_a_batch(scene, first, 250).items():
            total[what] += count
    figure("F11", "broken drops readied", total)
