"""Where it is: a failed import names file and line, a path that leads nowhere says where it begins.

And what it is: a class that cannot be run is refused at its ``method``.
"""

from __future__ import annotations

import pytest

IMPORTS = {
    "class A(:\n    pass\n": "SyntaxError: invalid syntax (Tasks.py, line 2)",
    "import nothing_of_it\n": "ModuleNotFoundError: No module named 'nothing_of_it' (Tasks.py, line 2)",
    "x = 1 / 0\n": "ZeroDivisionError: division by zero (Tasks.py, line 2)",
    "import json\njson.loads('')\n": (
        "json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0) (Tasks.py, line 3)"
    ),
    "import models\n": "NameError: name 'undefined' is not defined (models.py, line 3)",
}
PATHS = {
    "repository": "repository does not exist; a relative path begins at the workspace.",
    "../nowhere": "nowhere does not exist; a relative path begins at the workspace.",
    "$HOME/x": "$HOME/x does not exist; variables are not replaced in it, only ~ is.",
    "/nothing/here": "/nothing/here does not exist. Let pathToTasks name the folder of your Tasks.py.",
    "~/nothing_of_this_name": "nothing_of_this_name does not exist. Let pathToTasks",
}


@pytest.mark.slow
def test_a_failed_import_names_its_line_and_a_path_where_it_begins(cli, drop, repository, workspace, git):
    for number, source in enumerate(IMPORTS):
        folder = repository(f"import os\n{source}", f"repository{number}")
        (folder / "models.py").write_text("\n\nundefined\n")
        git(folder, "add", ".")
        git(folder, "commit", "--quiet", "--message=models")
        drop(f"import{number}", {"pathToTasks": str(folder)})
    for number, path in enumerate(PATHS):
        drop(f"path{number}", {"pathToTasks": path})
    drop("fine", {"pathToTasks": f"../{repository(name='good').name}"})
    lines = cli("check", check=3).stdout.splitlines()
    for name, sentences in (("import", IMPORTS), ("path", PATHS)):
        for number, sentence in enumerate(sentences.values()):
            found = [line for line in lines if line.startswith(f"{name}{number}.yaml:")]
            assert len(found) == 1, found
            assert sentence in found[0]
    assert "fine.yaml: fine, it would become runs/fine" in lines


CLASSES = """
    import functools

    from job_orchestration import TaskBase


    def with_three(function):
        @functools.wraps(function)
        def inner(self):
            return function(self, 3)

        return inner


    class NoRun(TaskBase):
        def start(self):
            return 1


    class Argument(TaskBase):
        def run(self, device):
            return device


    class Keyword(TaskBase):
        def run(self, *, device):
            return device


    class Default(TaskBase):
        def run(self, device="cpu", *more, **options):
            return device


    class Decorated(TaskBase):
        @with_three
        def run(self, number):
            return number


    class Static(TaskBase):
        @staticmethod
        def run():
            return 1
"""
NEEDS = "run() needs arguments, and gets none but self. Read parameters from self.config."
REFUSED = {
    "NoRun": "the class NoRun has no method run. Write `def run(self):`.",
    "Argument": NEEDS,
    "Keyword": NEEDS,
}


@pytest.mark.slow
def test_a_class_that_cannot_be_run_is_refused_at_its_method(cli, drop, repository, workspace):
    path = str(repository(CLASSES))
    for name in (*REFUSED, "Default", "Decorated", "Static"):
        drop(name, f"pathToTasks: {path}\noutputDir: {name}\ntasks: [{{id: t, method: {name}}}]\n")
    lines = cli("ready", check=3).stdout.splitlines()
    for name, sentence in REFUSED.items():
        assert f"{name}.yaml:3:25: tasks[0].method: t: {sentence}" in lines
        (workspace / "ConfigSources" / f"{name}.yaml").unlink()
    said = cli("work", "--until-idle").stdout
    for name in ("Default", "Decorated", "Static"):
        assert f"{name}: completed" in said
