"""The rules of the house that no other tool checks: sizes, names, floors, and what must not be in a file."""

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "job_orchestration"
MOST_LINES = 400
MOST_LINES_OF_A_FUNCTION = 50
MACHINE = re.compile(r"(?<![\w.~-])/(?:work|farm|root|mnt|(?:home|Users)/(?!you\b))[\w.-]*/?")
"""A path that means something on one machine only; documents say /home/you and /data."""
REGISTRY = re.compile(r"(?:index-url|find-links)|https?://[\w.-]*(?:artifactory|nexus|mirror|proxy)[\w.-]*")
OPEN = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X)\b")


def modules():
    return sorted(PACKAGE.rglob("*.py"))


def tracked():
    """The text files that are, or would be, in the repository."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(command, check=True, capture_output=True, timeout=60)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is no git work tree")
    for name in filter(None, done.stdout.decode().split("\0")):
        path = ROOT / name
        data = path.read_bytes() if path.is_file() else b""
        if b"\0" not in data:
            yield name, data.decode()


def lines_of(function):
    """The lines of a function, its docstring not counted."""
    first = function.body[0]
    has_docstring = ast.get_docstring(function, clean=False) is not None
    docstring = first.end_lineno - first.lineno + 1 if has_docstring else 0
    return function.end_lineno - function.lineno + 1 - docstring


def test_no_module_is_too_long_to_see_at_a_glance():
    long = {str(path): n for path in modules() if (n := len(path.read_text().splitlines())) > MOST_LINES}
    assert not long


def test_no_function_is_too_long_to_see_at_a_glance():
    long = {
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}": lines_of(node)
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and lines_of(node) > MOST_LINES_OF_A_FUNCTION
    }
    assert not long


def test_no_module_is_a_place_for_whatever_has_no_place():
    assert not [path for path in modules() if re.fullmatch(r"utils?|helpers?|misc|common", path.stem)]


def test_no_class_is_a_manager():
    nodes = [node for path in modules() for node in ast.walk(ast.parse(path.read_text()))]
    assert not [n.name for n in nodes if isinstance(n, ast.ClassDef) and n.name.endswith("Manager")]


def test_every_module_has_a_docstring():
    assert not [path for path in modules() if not ast.get_docstring(ast.parse(path.read_text()))]


def test_every_room_has_a_floor():
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    floors = {room.strip() for layer in contract["layers"] for room in layer.split("|")}
    rooms = {path.stem for path in PACKAGE.glob("*.py")} | {
        path.parent.name for path in PACKAGE.glob("*/*.py")
    }
    assert contract["exhaustive"] is True
    assert rooms - {"__init__"} <= floors


def test_the_pure_floors_import_nothing_that_touches_the_world():
    allowed = {"job_orchestration", "__future__", "abc", "codecs", "collections", "dataclasses", "datetime"}
    allowed |= {
        "difflib",
        "enum",
        "functools",
        "hashlib",
        "heapq",
        "itertools",
        "json",
        "math",
        "operator",
        "re",
    }
    allowed |= {"statistics", "string", "typing", "unicodedata", "urllib", "yaml"}
    found = {
        f"{path.relative_to(PACKAGE)}: {name}"
        for room in ("model", "rules")
        for path in (PACKAGE / room).glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        for name in imported_by(node)
        if name.partition(".")[0] not in allowed
    }
    assert not found


def imported_by(node):
    """The modules that an import statement names."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []


def test_no_file_names_a_path_or_a_registry_of_one_machine():
    found = [
        f"{name}:{number}: {line.strip()[:80]}"
        for name, text in tracked()
        for number, line in enumerate(text.splitlines(), 1)
        if MACHINE.search(line) or (REGISTRY.search(line) and name != "tests/unit/test_house.py")
    ]
    assert not found


def test_no_promise_is_left_open_in_a_comment():
    code = [(name, text) for name, text in tracked() if name.endswith((".py", "Makefile", ".ci/run"))]
    found = [name for name, text in code if OPEN.search(text)]
    assert not found


def test_the_patterns_above_find_what_they_are_for():
    assert MACHINE.search("in /" + "work/main")
    assert MACHINE.search('"/ro' + 'ot/.cache/x"')
    assert not MACHINE.search("https://example.org/work/x /home/you/project")
    assert OPEN.search("# TO" + "DO later")
    assert lines_of(ast.parse('def f():\n    """A.\n\n    B.\n    """\n    return 1\n').body[0]) == 2
