"""Fixtures of several modules: a workspace that the environment names, and the data of GenePlexus."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from job_orchestration.workspace import layout

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty workspace that the environment names."""
    layout.prepare(str(tmp_path / "workspace"))
    monkeypatch.setenv(layout.VARIABLE, str(tmp_path / "workspace"))
    return (tmp_path / "workspace").resolve()


# -- GenePlexus: its modules skip themselves where it is not installed --------------------------------------


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the synthetic data."""
    from demo.make_data import make_data

    return make_data(tmp_path_factory.mktemp("geneplexus") / "synthetic")


@pytest.fixture(scope="session")
def config(data: Path) -> dict[str, Any]:
    """The keys of a config for that data."""
    return {"file_loc": str(data), "genesetFile": str(data / "genesets" / "alpha.txt")}


@pytest.fixture(scope="session")
def finished(config: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The saved results of one undisturbed run."""
    from tests.geneplexus_bench import config_of, run_configs

    return run_configs([config_of(tmp_path_factory.mktemp("finished") / "alpha", **config)])[0]


@pytest.fixture
def own_data(data: Path, tmp_path: Path) -> Path:
    """A copy of the data that a test may spoil; it promises no checksums."""
    folder: Path = shutil.copytree(data, tmp_path / "data")
    (folder / "DATA_VERSION.json").unlink()
    return folder
