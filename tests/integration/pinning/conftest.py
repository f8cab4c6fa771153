"""A repository, a workspace and a store of code for each test."""

from __future__ import annotations

import tempfile

import pytest

from job_orchestration.code.snapshots import CodeStore
from tests.integration.pinning.repositories import commit, sh

HERE = {"GIT_CEILING_DIRECTORIES": tempfile.gettempdir(), "GIT_CONFIG_NOSYSTEM": "1"}


@pytest.fixture(autouse=True)
def own_configuration(tmp_path, monkeypatch):
    """A home folder of its own, so that the configuration of the person who runs the tests plays no part."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    for name, value in HERE.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def repo(tmp_path):
    folder = tmp_path / "repo"
    folder.mkdir()
    sh(folder, "init", "-q", "-b", "trunk")
    (folder / "exp").mkdir()
    (folder / "exp" / "Tasks.py").write_text("VALUE = 1\n")
    (folder / ".gitignore").write_text("data/\n*.log\n")
    commit(folder)
    return folder


@pytest.fixture
def workspace(tmp_path):
    return tmp_path / "workspace"


@pytest.fixture
def store(workspace):
    return CodeStore(workspace / "Misc")
