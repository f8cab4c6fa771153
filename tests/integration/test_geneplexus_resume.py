"""RunGenePlexus goes on where it was, and uses nothing that does not fit."""

from __future__ import annotations

import json
import logging
import os
import pickle
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("geneplexus", reason="the extra [geneplexus] is not installed")

import geneplexus

from job_orchestration import PermanentError
from job_orchestration.geneplexus import adapter, checkpoints
from tests.geneplexus_bench import TASKS, PlainContext, config_of, run_task

TOP = Path(__file__).resolve().parents[2]


DIE_AFTER_FIT = """
import json, os, signal, sys
from tests.geneplexus_bench import PlainContext, run_task

class Dying(PlainContext):
    def progress(self, done, total=None, **metrics):
        if done == 1:
            os.kill(os.getpid(), signal.SIGKILL)

config = json.loads(sys.argv[1])
run_task(config, "load")
run_task(config, "run", context=Dying)
"""


@pytest.fixture(scope="module")
def killed_once(config, tmp_path_factory):
    """A run's folder whose process met a SIGKILL right after the fit's checkpoint."""
    output = tmp_path_factory.mktemp("killed") / "out"
    command = [sys.executable, "-W", "ignore", "-c", DIE_AFTER_FIT, json.dumps(config_of(output, **config))]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(TOP)}, capture_output=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    return output


@pytest.fixture
def killed(killed_once, config, tmp_path):
    """The config of a run that was killed after the fit, with a copy of its folder."""
    return config_of(shutil.copytree(killed_once, tmp_path / "out"), **config)


@pytest.mark.slow
def test_a_kill_after_the_fit_does_not_fit_again(killed, finished, monkeypatch, caplog):
    def forbidden(*_args, **_keys):
        raise AssertionError("fitted again")

    monkeypatch.setattr(geneplexus.GenePlexus, "fit", forbidden)
    with caplog.at_level(logging.INFO):
        run_task(killed, "run")
    assert "step 1 of 4 (fit) is taken from its checkpoint" in caplog.text
    assert "step 2 of 4: predict" in caplog.text
    run_task(killed, "save")
    for name in ["df_probs.tsv", "df_sim.tsv", "df_edge.tsv", "graph.json"]:
        assert (Path(killed["outputDir"]) / "save" / name).read_bytes() == (finished / name).read_bytes(), (
            name
        )


def test_a_task_that_had_all_its_steps_takes_none_again(config, tmp_path, monkeypatch):
    keys = config_of(tmp_path / "out", **config)
    run_task(keys, "load")
    first = run_task(keys, "run")
    monkeypatch.setattr(adapter, "take_step", lambda *_: pytest.fail("a step was taken again"))
    assert run_task(keys, "run") == first


def spoil_checkpoint(path, _monkeypatch):
    path.write_bytes(path.read_bytes()[:-100])


def other_versions(_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "versions", lambda: {"pandas": "0.1"})


def empty_checkpoint(path, _monkeypatch):
    path.write_bytes(b"")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (spoil_checkpoint, "it is damaged"),
        (empty_checkpoint, "it is damaged"),
        (other_versions, "(here 0.1)"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_not_unpickled(killed, monkeypatch, caplog, spoil, reason):
    path = next((Path(killed["outputDir"]) / ".resume").rglob("*.checkpoint"))
    spoil(path, monkeypatch)
    monkeypatch.setattr(pickle, "loads", lambda _: pytest.fail("unpickled"))
    run_task(killed, "run")
    assert reason in caplog.text


def test_a_checkpoint_of_other_parameters_is_not_used(killed, caplog):
    run_task(killed | {"random_state": 7}, "run")
    assert "other parameters, genes or data" in caplog.text


def test_a_model_of_another_environment_is_not_read(config, tmp_path, monkeypatch):
    keys = config_of(tmp_path / "out", **config)
    run_task(keys, "load")
    run_task(keys, "run")
    monkeypatch.setattr(checkpoints, "versions", lambda: {"pandas": "0.1"})
    with pytest.raises(PermanentError, match="Use the environment that made it"):
        run_task(keys, "save")


def test_data_that_changed_after_the_genes_were_looked_up_are_not_trained_on(own_data, config, tmp_path):
    keys = config_of(tmp_path / "out", **config | {"file_loc": str(own_data)})
    run_task(keys, "load")
    with (own_data / "Edgelist__Human__STRING.edg").open("a") as file:
        file.write("900001\t900900\t0.5\n")
    with pytest.raises(PermanentError, match="are not those that the genes were looked up in"):
        run_task(keys, "run")


def test_one_task_cannot_choose_another_network_than_the_one_before(config, tmp_path):
    tasks = [TASKS[0], {**TASKS[1], "gsc_trn": "GO"}, TASKS[2]]
    keys = config_of(tmp_path / "out", **config) | {"tasks": tasks}
    run_task(keys, "load")
    with pytest.raises(PermanentError, match="Give gsc_trn once, at the top of the config"):
        run_task(keys, "run")


def test_progress_is_reported_step_by_step(config, tmp_path):
    keys = config_of(tmp_path / "out", **config)
    contexts = []

    def remembered(*arguments):
        contexts.append(PlainContext(*arguments))
        return contexts[-1]

    run_task(keys, "load")
    run_task(keys, "run", context=remembered)
    assert contexts[0].printed == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]
