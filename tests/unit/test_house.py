"""The rules that no other tool checks: sizes, names, packages, and what must not be in a file."""

import ast
import functools
import gc
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "job_orchestration"
MOST_LINES = 500
MOST_LINES_OF_A_FUNCTION = 50
MACHINE = re.compile(r"(?<![\w.~-])/(?:(?:work|farm|root|mnt)\b|(?:home|Users)/(?!you\b))[\w.-]*/?")
"""A path that means something on one machine only; documents say /home/you and /data."""
REGISTRY = re.compile(r"(?:index-url|find-links)|https?://[\w.-]*(?:artifactory|nexus|mirror|proxy)[\w.-]*")
OPEN = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X)\b")


def modules():
    return sorted(PACKAGE.rglob("*.py"))


@functools.cache
def parsed(text):
    """The syntax tree of a source, which several rules look at."""
    return ast.parse(text)


@functools.cache
def nodes_of(path):
    """All nodes of a module."""
    return tuple(ast.walk(parsed(path.read_text())))


@pytest.fixture(scope="module", autouse=True)
def _trees_are_kept_for_these_tests_only():
    gc.disable()  # trees are many objects, and all of them are needed until the end
    yield
    nodes_of.cache_clear()
    parsed.cache_clear()
    gc.enable()


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
        for node in nodes_of(path)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and lines_of(node) > MOST_LINES_OF_A_FUNCTION
    }
    assert not long


def test_no_module_is_a_place_for_whatever_has_no_place():
    assert not [path for path in modules() if re.fullmatch(r"utils?|helpers?|misc|common", path.stem)]


def test_no_class_is_a_manager_but_the_one_that_web_applications_know():
    nodes = [node for path in modules() for node in nodes_of(path)]
    found = [n.name for n in nodes if isinstance(n, ast.ClassDef) and n.name.endswith("Manager")]
    assert found == ["JobManager"]


def test_every_module_has_a_docstring():
    assert not [path for path in modules() if not ast.get_docstring(parsed(path.read_text()))]


def contract(name):
    """The import contract of this name in pyproject.toml."""
    found = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    return next(one for one in found if one["name"] == name)


def pure_modules():
    """The files of the modules that a contract calls pure; a package stands for all its modules."""
    for module in contract("Pure modules touch neither disk, clock, chance nor processes")["source_modules"]:
        path = ROOT / module.replace(".", "/")
        yield from path.glob("*.py") if path.is_dir() else [path.with_suffix(".py")]


def test_every_package_has_its_place_in_the_order_of_imports():
    layers = contract("A package imports only packages below it")
    placed = {name.strip() for layer in layers["layers"] for name in layer.split("|")}
    there = {path.stem for path in PACKAGE.glob("*.py")} | {
        path.parent.name for path in PACKAGE.glob("*/*.py")
    }
    assert layers["exhaustive"] is True
    assert there - {"__init__"} <= placed


def test_every_package_says_in_ten_lines_what_it_is_about():
    doors = sorted(PACKAGE.glob("*/__init__.py"))
    assert doors
    docstrings = {path.parent.name: ast.get_docstring(parsed(path.read_text())) or "" for path in doors}
    assert not {name: text for name, text in docstrings.items() if not 1 <= len(text.splitlines()) <= 10}


def test_the_pure_modules_are_there():
    assert not [path for path in pure_modules() if not path.is_file()]


def test_the_pure_modules_import_nothing_that_touches_the_world():
    allowed = {"job_orchestration", "__future__", "abc", "codecs", "collections", "dataclasses", "datetime"}
    allowed |= {"csv", "enum", "fnmatch", "functools", "hashlib", "heapq", "itertools", "json", "math"}
    allowed |= {
        "base64",
        "html",
        "ipaddress",
        "operator",
        "re",
        "statistics",
        "string",
        "types",
        "typing",
        "unicodedata",
        "urllib",
        "yaml",
    }
    found = {
        f"{path.relative_to(PACKAGE)}: {name}"
        for path in pure_modules()
        for node in nodes_of(path)
        for name in imported_by(node)
        if name.partition(".")[0] not in allowed
    }
    assert not found


def test_one_module_asks_for_the_time_of_day():
    asks = re.compile(r"\b(?:now\(UTC\)|datetime\.(?:now|utcnow|today)\(|date\.today\()")
    found = {str(path.relative_to(PACKAGE)) for path in modules() if asks.search(path.read_text())}
    assert found == {"workspace/clock.py"}


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
    assert not MACHINE.search('include = ["/workspace_template"]')
    assert OPEN.search("# TO" + "DO later")
    assert lines_of(ast.parse('def f():\n    """A.\n\n    B.\n    """\n    return 1\n').body[0]) == 2


# -- words: the standard term of each thing, and no second name for it --------------------------------------

FORMER_NAMES = frozenset({
    *("herald", "courier", "news", "lookout", "stuck", "beat", "beats", "pulse", "host", "hosts", "interior"),
    *("page", "orders", "lineup", "room", "share", "shares", "account", "accounts", "demand", "demands"),
    *("wants", "guest", "arrivals", "drops", "upkeep", "together", "history", "former", "views", "keeping"),
    *("litter", "rubbish", "survey", "finding", "findings", "outlook", "oncoming", "slip", "slips", "terms"),
    *("closures", "arranging", "tabulating", "told", "tell", "tells", "verb", "verbs", "action", "actions"),
    *("residents", "arena"),
})  # fmt: skip
"""Names of the first house, whole (``host``, ``_host``), that have a standard term in the glossary now."""
FORMER_PARTS = re.compile(
    r"(?:^|_)(?:herald|courier|lookout|lineup|pulse|interior|upkeep|oncoming|outlook|litter|rubbish|slip|slips|news"
    r"|told|wants|beats?|settle_in|take_in|taken_in|file_away|filed_away|hand_back|put_off|whoever|nobody"
    r"|somebody|hosts?|verbs?|findings?|litters?|room|share_of)(?:_|$)"
)
"""The same inside of longer names."""
TURNS = re.compile(
    r"\b(?:whoever|nobody|told|herald|courier|lookout|lineup|upkeep|oncoming|outlook|litter|rubbish|pulse"
    r"|who is where|how long still|tak(?:e|es|en) in|fil(?:e|es|ed) (?:it |them )?away|hand(?:s|ed)? back"
    r"|put(?:s)? off|verbs?)\b",
    re.IGNORECASE,
)
"""Turns of phrase that have to be read twice, in prose, messages and comments."""
KEPT = {
    "handed_back": "an event of the journal: a format",
    "HANDED_BACK": "the same",
    "HandedBack": "the same",
}

KEPT_KEYS = {
    ("cli/comparison_flags.py", "action"): "a word of argparse",
    ("cli/exchange_flags.py", "action"): "a word of argparse",
    ("cli/flags.py", "action"): "a word of argparse",
    ("cli/function_flags.py", "action"): "a word of argparse",
    ("cli/gene_set_flags.py", "action"): "a word of argparse",
    ("code/provenance.py", "host"): "provenance.json: a format",
    ("commands/doctor.py", "findings"): "doctor --json: a format",
    ("geneplexus/reports.py", "host"): "a file of results: a format",
    ("notifications/outbox.py", "news"): "a message in the outbox: a format",
    ("workspace/heartbeats.py", "host"): "a worker's heartbeat: a format",
}
"""Keys with a former word, and why they stay."""


def snake_case(name):
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().strip("_")


def defined_names(tree):
    """The names that a module gives: of classes, functions, parameters, variables, attributes of ``self``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield (node.id if isinstance(node, ast.Name) else node.attr), node.lineno
        elif isinstance(node, ast.alias) and node.asname:
            yield node.asname, node.lineno


def message_keys(tree):
    """The keys of the mappings that a module writes out, as far as they could be names."""
    for node in ast.walk(tree):
        for key in node.keys if isinstance(node, ast.Dict) else ():
            if isinstance(key, ast.Constant) and isinstance(key.value, str) and key.value.isidentifier():
                yield key.value, key.lineno


def code_of(*suffixes):
    """The tracked files that people read as prose or code; recorded workspaces and data are a format."""
    return [
        (name, text)
        for name, text in tracked()
        if name.endswith(suffixes)
        and "workspace_format_1/workspace" not in name
        and "seed_demo" not in name
        and name != "tests/unit/test_house.py"
    ]


def test_no_name_is_one_of_the_former_words():
    found = [
        f"{name}:{line}: {given}"
        for name, text in code_of(".py")
        for given, line in [*defined_names(parsed(text)), (Path(name).stem.removeprefix("test_"), 0)]
        if given not in KEPT and (snake_case(given) in FORMER_NAMES or FORMER_PARTS.search(snake_case(given)))
    ]
    assert not found, "\n".join(found)


def test_no_key_of_a_message_is_one_of_the_former_words():
    found = [
        f"{path.relative_to(ROOT)}:{line}: {key}"
        for path in modules()
        for key, line in message_keys(parsed(path.read_text()))
        if (str(path.relative_to(PACKAGE)), key) not in KEPT_KEYS
        and (key in FORMER_NAMES or FORMER_PARTS.search(key))
    ]
    assert not found, "\n".join(found)


def test_no_sentence_has_a_turn_that_must_be_read_twice():
    found = [
        f"{name}:{number}: {line.strip()[:100]}"
        for name, text in code_of(".py", ".md", ".yaml", "Makefile", ".ci/run", ".toml")
        for number, line in enumerate(text.splitlines(), 1)
        if TURNS.search(line)
    ]
    assert not found, "\n".join(found)
