"""Provenance says all that is needed to have a run again, in plain JSON."""

from __future__ import annotations

import json
import platform
from importlib import metadata

from job_orchestration.code import git
from job_orchestration.code.provenance import Provenance, environment, git_version


def test_the_environment_names_python_packages_and_tools():
    found = environment()
    assert found["python"]["version"] == platform.python_version()
    assert found["packages"]["pytest"] == metadata.version("pytest")
    assert found["packages"]["pyyaml"] == metadata.version("PyYAML")
    assert all(found[key] for key in ("host", "user", "cpu_count"))
    assert git_version() == git.version()
    assert git_version()[0].isdigit()
    assert json.loads(json.dumps(found)) == found


def test_each_caller_gets_an_environment_of_its_own():
    environment()["packages"].clear()
    assert environment()["packages"]


def test_a_user_without_a_name_is_shown_by_number(monkeypatch):
    from job_orchestration.code import provenance

    def nameless():
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr(provenance.getpass, "getuser", nameless)
    monkeypatch.setattr(provenance.os, "getuid", lambda: 4711)
    assert provenance._user() == "4711"


def test_provenance_is_one_flat_object_that_any_json_writer_takes():
    printed = Provenance(
        run="2026-01-01/x",
        config="x",
        digest="ab" * 32,
        readied_at="2026-01-01T00:00:00.000000Z",
        seed=7,
        commit="c" * 40,
        dirty=("a.py", "b\n\udcff.py"),
        argv=("ready",),
        environment={"host": "here", "run": "an environment cannot say what the run is"},
    ).as_json()
    assert printed["run"] == "2026-01-01/x"
    assert printed["host"] == "here"
    assert printed["branch"] is None
    assert printed["dirty"] == ["a.py", "b\\n\\udcff.py"]
    assert "environment" not in printed
    assert json.dumps(printed, ensure_ascii=False).encode("utf-8")
