"""Each example of `docs/config.md` is one that `check` takes without a word."""

from __future__ import annotations

import re

import pytest

from tests.conftest import ROOT

TASKS = """
    from job_orchestration import TaskBase


    class Load(TaskBase):
        def run(self):
            return self.config.get("layers")


    class Train(Load):
        pass
"""
LEAST = {
    "pathToTasks": "pathToTasks: {path}\n",
    "outputDir": "outputDir: {name}\n",
    "layers": "layers: 1\n",
    "tasks": "tasks:\n- {{id: load, method: Load}}\n- {{id: train, method: Train, lr: 1}}\n",
}


def examples():
    """Each key of the page with its example; those of ``workspace.yaml`` apart."""
    of_configs, _, of_workspace = (ROOT / "docs" / "config.md").read_text().partition("## `workspace.yaml`")
    pattern = re.compile(r"^### (\S+)\n(?:(?!^###).)*?^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)
    return pattern.findall(of_configs), pattern.findall(of_workspace)


@pytest.mark.slow
def test_each_example_passes_the_check(cli, drop, repository, workspace):
    path = repository(TASKS)
    for name in ("genes.tsv", "sets/one.txt"):
        (path.parent / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "data" / name).touch()
    of_configs, of_workspace = examples()
    assert len(of_configs) > 20
    drop("prepare", "".join(LEAST.values()).format(path=path, name="prepare"))
    for number, (key, example) in enumerate(of_configs):
        name = f"example{number}"
        rest = "".join(text for other, text in LEAST.items() if other != key).format(path=path, name=name)
        there = example.replace("/home/you/your-project/experiments", str(path))
        drop(name, rest + there.replace("/data", str(path.parent / "data")))
    (workspace / "workspace.yaml").write_text("".join(example for _, example in of_workspace))
    lines = cli("check").stdout.splitlines()
    said = [
        line for line in lines if not re.search(r": fine, it would become|^ |: a sweep of 8 trials$", line)
    ]
    assert said == []
    assert sum("fine, it would" in line for line in lines) == len(of_configs) + 1
