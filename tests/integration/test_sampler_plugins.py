"""Samplers of other packages: the docs' example is installed, and a broken one stops only its own search."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from job_orchestration.commands.status import status
from job_orchestration.search import sampler_plugins, searches
from job_orchestration.search.parameter_space import Choice, Uniform, Whole
from job_orchestration.search.search_settings import Search
from tests.conftest import LIMIT, ROOT

if TYPE_CHECKING:
    from pathlib import Path

TASKS = """
from job_orchestration import TaskBase

class Train(TaskBase):
    def run(self):
        return {"score": self.config["x"]}
"""
BROKEN = """
import os, sys, time

class Base:
    def __init__(self, space, seed, maximize):
        self.results = ()
    def observe(self, results):
        self.results = results

class Raises(Base):
    def ask(self, number):
        if self.results:
            raise ValueError("no more ideas")
        return {"x": 0.5}

class Exits(Base):
    def ask(self, number):
        sys.exit("goodbye")

class Dies(Base):
    def ask(self, number):
        os._exit(3)

class Hangs(Base):
    def ask(self, number):
        time.sleep(600)

class Outside(Base):
    def ask(self, number):
        print("this line is no answer")
        return {"x": 7.0}

class Other(Base):
    def ask(self, number):
        return {"y": 1}
"""


def block(method, **changes):
    space = {"x": {"uniform": [0, 1]}}
    return {"search": {"method": method, "n": 5, "metric": "train.score", "space": space, **changes}}


@pytest.fixture
def site(tmp_path, monkeypatch) -> Path:
    """A folder of installed packages, for this process and all that it starts."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), str(ROOT)]))
    monkeypatch.syspath_prepend(str(site))
    return site


@pytest.fixture
def broken(site):
    """A package of samplers that do not work."""
    about = site / "broken_samplers-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-samplers\nVersion: 1\n")
    names = [*re.findall(r"class (\w+)\(Base\)", BROKEN), "Missing"]
    points = "".join(f"{name.lower()} = broken_samplers:{name}\n" for name in names)
    (about / "entry_points.txt").write_text(
        f"[job_orchestration.samplers]\n{points}random = broken_samplers:Dies\n"
    )
    (site / "broken_samplers.py").write_text(BROKEN)


@pytest.fixture
def example(tmp_path, site):
    """The package of docs/samplers.md, built and installed."""
    text = (ROOT / "docs" / "samplers.md").read_text()
    source = tmp_path / "halton"
    source.mkdir()
    for _, name, body in re.findall(
        r"^```(text|python)\n# ~/halton/(\S+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL
    ):
        (source / name).write_text(body)
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps"]
    command += ["--no-index", "--no-build-isolation", "--target", str(site), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_example_package_is_installed_and_proposes_the_trials_of_a_search(sandbox, example):
    sandbox.queue("s", "Train", x=0, sweep=block("halton"))
    said = sandbox.work(PYTHONPATH=os.environ["PYTHONPATH"])
    assert "search s: all 5 trials have ended; the best is s/" in said
    order = searches.read(sandbox.workspace, "s")
    known = searches.results(sandbox.workspace, order)
    assert [r.parameters["x"] for r in known] == [0.5, 0.25, 0.75, 0.125, 0.625]


def test_the_example_proposes_values_of_every_kind_in_the_space(example):
    space = {"k": Whole(1, 3), "a": Choice(("x", [1])), "u": Uniform(0, 1), "l": Uniform(1e-4, 1.0, log=True)}
    sampler = sampler_plugins.PluginSampler(Search("halton", space, "train", 40, parallel=40))
    sampler.observe([])
    found = [sampler.ask(number) for number in range(1, 41)]
    assert {one["k"] for one in found} == {1, 2, 3}
    assert all(one["a"] in ("x", [1]) for one in found)


@pytest.mark.slow
def test_a_sampler_that_fails_later_is_named_and_other_searches_go_on(sandbox, broken):
    sandbox.queue("bad", "Train", x=0, outputDir="bad", sweep=block("raises", parallel=1))
    sandbox.queue("good", "Train", x=0, outputDir="good", sweep=block("random"))
    said = sandbox.work(PYTHONPATH=os.environ["PYTHONPATH"])
    sentence = "The sampler raises of the package broken-samplers failed: ValueError: no more ideas"
    assert f"search bad: {sentence}" in said
    assert "search good: all 5 trials have ended" in said, "and a plugin cannot replace a built-in one"
    (waiting,) = status(sandbox.workspace).searches
    assert waiting.search == "bad"
    assert sentence in waiting.problem


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "why"),
    [
        ("exits", "SystemExit: goodbye"),
        ("dies", "its process ended with 3"),
        ("hangs", "it took longer than 2 s"),
        ("outside", "it proposed x = 7.0, which is not in the space"),
        ("other", 'it proposed {"y": 1}; the parameters are x'),
        ("missing", "AttributeError: module 'broken_samplers' has no attribute 'Missing'"),
    ],
)
def test_a_sampler_that_does_not_work_is_a_problem_of_the_config(sandbox, broken, monkeypatch, method, why):
    monkeypatch.setattr(sampler_plugins, "LIMIT", 2.0)
    sandbox.drop("s", "Train", x=0, sweep=block(method))
    (problem,) = sandbox.ready().refused["s.yaml"]
    assert problem.key == "sweep.search.method"
    assert problem.what == f"The sampler {method} of the package broken-samplers failed: {why}"


def test_an_unknown_method_is_answered_with_those_that_are_there(sandbox, broken):
    sandbox.drop("s", "Train", x=0, sweep=block("bayes"))
    (problem,) = sandbox.ready().refused["s.yaml"]
    assert problem.todo.startswith("Write grid, random, tpe, dies, exits, hangs, ")
