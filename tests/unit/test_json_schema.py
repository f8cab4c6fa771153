"""The JSON Schema and the checks say the same: what passes the checks passes the schema."""

from __future__ import annotations

import json
import re

import jsonschema
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from job_orchestration.config import yaml_reader
from job_orchestration.config.json_schema import config_schema, workspace_schema
from job_orchestration.config.settings import RULES
from job_orchestration.config.validation import KNOWN_KEYS, read_and_check
from job_orchestration.config.yaml_writer import to_yaml
from tests.conftest import ROOT

SCHEMA = jsonschema.Draft202012Validator(config_schema())
FINE = {"outputDir": "{date}/{name}", "tasks": [{"id": "a", "method": "m:C"}]}

texts = st.text(max_size=8) | st.sampled_from(
    [
        "30s",
        "1.5 h",
        "0s",
        "9999d",
        "8G",
        "500Mi",
        "fork",
        "spawn",
        "a/b",
        "{date}",
        "{nam}",
        "../a",
        "~a",
        "true",
    ]
)
bounds = st.sampled_from([-1, 0, 1, 0.5, 2**32 - 1, 2**32, 315_360_000, 315_360_001, 2**62, 2**62 + 1])
scalars = (
    bounds
    | st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
values = scalars | st.lists(scalars, max_size=2) | st.dictionaries(texts, scalars, max_size=2)
names = (
    st.sampled_from(["a", "load", "m:C", "pkg.mod:Name", "Größe", "log.log", "a.B", "1a", ".a", ""]) | texts
)
tasks = st.lists(
    st.fixed_dictionaries({"id": names, "method": names}, optional={"timeout": values, "x": values}),
    max_size=3,
)
configs = st.fixed_dictionaries(
    {},
    optional={
        **{key: values for key in (*KNOWN_KEYS, "pathToModuleCode", "anything") if key not in FINE},
        "outputDir": texts | values,
        "tasks": tasks | values,
    },
)


def is_accepted(config, defaults=None):
    """Whether the checks find no error in a config that went through a file."""
    return read_and_check(to_yaml(config), "a.yaml", "a", defaults or {}).config is not None


@settings(max_examples=300)
@given(configs)
@example({**FINE, "pathToTasks": None, "pathToModuleCode": -1})
@example({**FINE, "pathToTasks": "a", "pathToModuleCode": ""})
@example({**FINE, "pathToModuleCode": 0})
def test_what_passes_the_checks_passes_the_schema(config):
    for defaults in ({}, FINE):
        if is_accepted(config, defaults):
            SCHEMA.validate(config)


@settings(max_examples=1000)
@given(st.sampled_from(sorted(RULES)), scalars)
def test_of_a_single_setting_both_say_the_same(key, value):
    whole = isinstance(value, float) and value.is_integer()  # JSON Schema takes 3.0 for an integer
    if not isinstance(value, str) and not whole:
        assert SCHEMA.is_valid({key: value}) == (value is None or RULES[key].read(value) is not None)


@pytest.mark.parametrize(
    "mistake",
    [
        {"maxAttempts": 0},
        {"maxAttempts": "three"},
        {"retryDelay": "5 min"},
        {"timeout": 0},
        {"isolation": "docker"},
        {"memoryLimit": "8 gigabytes"},
        {"seed": -1},
        {"overwriteOutputFine": "yes"},
        {"pathToTasks": ["a"]},
        {"pathToTasks": ""},
        {"githubRepository": 5},
        {"outputDir": "/tmp/x"},
        {"outputDir": "a/../../b"},
        {"outputDir": "{when}/a"},
        {"outputDir": "a~b"},
        {"outputDir": None},
        {"tasks": []},
        {"tasks": {"a": "b"}},
        {"tasks": ["train"]},
        {"tasks": [{"method": "m:C"}]},
        {"tasks": [{"id": "log.log", "method": "m:C"}]},
        {"tasks": [{"id": "a/b", "method": "m:C"}]},
        {"tasks": [{"id": "a", "method": "m.C"}]},
        {"tasks": [{"id": "a", "method": "m:C", "timeout": "soon"}]},
    ],
    ids=json.dumps,
)
def test_a_known_mistake_is_refused_by_both(mistake):
    assert is_accepted(FINE)
    assert not is_accepted({**FINE, **mistake})
    assert not SCHEMA.is_valid({**FINE, **mistake})


def test_every_setting_says_its_schema():
    assert not [key for key, rule in RULES.items() if not rule.schema]
    assert set(KNOWN_KEYS) <= set(config_schema()["properties"])


@pytest.mark.parametrize("schema", [config_schema(), workspace_schema()], ids=lambda s: s["title"])
def test_the_schemas_are_schemas(schema):
    jsonschema.Draft202012Validator.check_schema(schema)
    assert json.loads(json.dumps(schema)) == schema


@pytest.mark.parametrize(
    "path",
    [
        *(ROOT / "workspace_template/examples").glob("*.yaml.example"),
        *(ROOT / "tests/fixtures/old_workspace").rglob("*.yaml"),
        ROOT / "tests/fixtures/seed_demo/test.yaml",
    ],
    ids=lambda path: path.name,
)
def test_a_config_that_people_have_passes(path):
    if path.parent.parent.name == "Output" or path.parent.name == "Misc":
        return
    root, problems = yaml_reader.read(path.read_bytes(), path.name)
    assert not problems
    config = yaml_reader.plain(root)
    if is_accepted(config):
        SCHEMA.validate(config)


def test_every_pattern_means_the_same_in_ecmascript():
    found = re.findall(r'"pattern": ("(?:[^"\\]|\\.)*")', json.dumps(config_schema()))
    assert len(found) > 4
    for pattern in map(json.loads, found):
        assert pattern.isascii()
        assert not re.search(r"\(\?[P#<]|\\[AZzdwsbDWSB]", pattern), pattern
