"""The demo does what it says: one config is refused, one worker is killed, its run goes on to results."""

import json
import os
import re
import subprocess
import sys

import pytest

from tests.conftest import LIMIT, ROOT

pytest.importorskip("geneplexus", reason="the extra [geneplexus] is not installed")
pytestmark = pytest.mark.slow  # `make demo` runs it too


def run_demo(folder):
    """Run the demo as `make demo` does, in another folder, and with its own synthetic data."""
    environment = {k: v for k, v in os.environ.items() if k != "GENEPLEXUS_DATA"}
    return subprocess.run(
        [sys.executable, str(ROOT / "demo" / "run.py"), str(folder)],
        check=False,
        capture_output=True,
        text=True,
        timeout=2 * LIMIT,
        env=environment,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """The folder of one demo, and what it printed."""
    folder = tmp_path_factory.mktemp("demo") / "place"
    done = run_demo(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    said = [line for line in done.stderr.splitlines() if not line.startswith("Waiting for the tasks of ")]
    assert not said, "a slow machine says what it waits for, and nothing else is said"
    return folder, done.stdout


def test_the_bad_config_is_refused_with_all_its_problems_and_the_others_run(shown):
    folder, text = shown
    for line in (3, 6, 8, 9):
        assert f"bad.yaml:{line}:" in text
    workspace = folder / "workspace"
    assert {path.name for path in (workspace / "Completed").iterdir()} == {
        "alpha.yaml",
        "beta.yaml",
        "gamma.yaml",
    }
    assert (workspace / "ConfigSources" / "bad.yaml.problems.txt").exists()


def test_a_worker_is_killed_in_the_middle_and_its_run_goes_on_from_the_checkpoint(shown):
    folder, text = shown
    run = re.search(r"What became of demo/(\w+)", text)[1]
    assert f"RunGenePlexus of demo/{run}" in text
    assert "Kept from before the kill, and not run again: load" in text
    assert "step 1 of 4 (fit) is taken from its checkpoint" in text
    lines = [
        json.loads(line)
        for path in sorted((folder / "workspace/Output/demo" / run / "journal").iterdir())
        for line in path.read_text().splitlines()
    ]
    assert [e["task"] for e in lines if e["event"] == "task_finished"] == ["load", "run", "save"]
    assert [e["task"] for e in lines if e["event"] == "task_started"] == ["load", "run", "run", "save"]
    assert [e["attempt"] for e in lines if e["event"] == "claimed"] == [1, 2]


def test_the_results_name_the_planted_modules_and_say_that_they_are_synthetic(shown):
    folder, text = shown
    for name, module in {"alpha": 4, "beta": 18, "gamma": 32}.items():
        row = re.search(rf"^  {name} .*$", text, re.MULTILINE)[0]
        assert row.endswith(f"synthetic module {module}")
        found, held_out = map(int, re.search(r"(\d+) of (\d+)", row).groups())
        assert 2 * found > held_out
        assert list((folder / "workspace/Output/demo" / name / "save").glob("*.png"))
    assert "SYNTHETIC, and so are these results" in text


def test_the_demo_leaves_a_folder_alone_that_it_did_not_make(tmp_path):
    (tmp_path / "precious.txt").write_text("mine")
    done = run_demo(tmp_path)
    assert done.returncode == 1
    assert "was not made by this demo" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]
