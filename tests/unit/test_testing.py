"""`testing.run`: one task class in a unit test, as a run would execute it."""

from __future__ import annotations

import importlib
import os
import random
import re
import sys
from pathlib import Path

import pytest

from job_orchestration import ConfigRefusedError, TaskBase, UsageError, testing
from tests.conftest import ROOT

DOCUMENT = ROOT / "docs" / "tasks.md"


class Load(TaskBase):
    def run(self):
        os.chdir("/")
        os.environ["LEFT_BEHIND"] = "1"
        self.context.store.save_json("genes.json", ["A", "B"])
        Path(self.config["outputDir"], "plain.txt").write_text("x")
        return {"genes": ("A", "B"), "model": object()}


class Train(TaskBase):
    def validate(self):
        return [UserWarning("few epochs")] if self.config["epochs"] else ["epochs must be positive"]

    def run(self):
        for step in range(self.config["epochs"]):
            self.context.progress(step + 1, self.config["epochs"], metric=1 / (step + 1))
        Path("curve.txt").write_text("a relative name")
        return [
            self.context.result_of("load")["genes"],
            self.context.load_json("load", "genes.json"),
            self.context.should_stop,
            random.random(),
        ]


class Fails(TaskBase):
    folder = ""

    def run(self):
        Fails.folder = self.config["outputDir"]
        raise ValueError("as it was raised")


def test_a_task_runs_with_its_context_and_leaves_the_process_as_it_was():
    stood = os.getcwd()
    load = testing.run(Load)
    assert load.value["genes"] == ["A", "B"], "as a run would keep it"
    assert load.warnings == ("result.model: an object is not kept; save it with self.context.store",)
    assert load.files == ("load/genes.json", "plain.txt")
    assert os.getcwd() == stood
    assert "LEFT_BEHIND" not in os.environ
    first, second = (
        testing.run(Train, {"epochs": 2}, earlier={"load": load}, seed=seed, should_stop=bool(seed))
        for seed in (0, 1)
    )
    assert first.value[:3] == [["A", "B"], ["A", "B"], False]
    assert second.value[2] is True
    assert first.value[3] == random.Random(0).random()
    assert second.value[3] == random.Random(1).random()
    assert (first.progress, first.metrics) == ((2, 2), ((1, 1), (2, 0.5)))
    assert first.store is None
    assert first.files == ("working_directory/curve.txt",)
    assert first.warnings == ("few epochs",)


def test_a_refusal_names_the_key_and_an_exception_passes_and_no_folder_is_left():
    with pytest.raises(ConfigRefusedError) as refused:
        testing.run(Train, {"epochs": 0})
    assert [(p.file, p.key, p.what) for p in refused.value.problems] == [
        ("Train", "epochs", "epochs must be positive")
    ]
    with pytest.raises(UsageError, match=r"config\.x: an object"):
        testing.run(Load, {"x": object()})
    with pytest.raises(ValueError, match="as it was raised"):
        testing.run(Fails)
    assert not os.path.exists(Fails.folder)
    kept = testing.run(Load)
    folder = kept.folder
    assert folder.is_dir()
    del kept
    assert not folder.exists()


def test_the_example_of_the_documentation_passes(tmp_path, monkeypatch):
    blocks = re.findall(
        r"^```python\n# testing/(\S+)\n(.*?)^```$", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE
    )
    assert [name for name, _ in blocks] == ["Tasks.py", "test_tasks.py"]
    for name, text in blocks:
        (tmp_path / name).write_text(text)
    (tmp_path / ".git").mkdir()
    (tmp_path / "data.csv").touch()
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("Tasks", "test_tasks"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    example = importlib.import_module("test_tasks")
    tests = [function for name, function in vars(example).items() if name.startswith("test_")]
    assert len(tests) == 2
    for function in tests:
        function()

    class Looks(example.Train):
        def run(self):
            return os.path.exists("data.csv")

    assert testing.run(Looks, {"epochs": 1}, code=tmp_path).value is True
    assert testing.run(Looks, {"epochs": 1}).value is False
