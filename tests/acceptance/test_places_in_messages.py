"""Where it is: a failed import names file and line, a path that leads nowhere says where it begins."""

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
