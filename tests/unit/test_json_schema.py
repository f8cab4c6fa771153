"""The JSON Schema and the checks say the same: what passes the checks passes the schema."""

from __future__ import annotations

import json
import re

import jsonschema
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from job_orchestration.config import (
    key_reference,
    notification_settings,
    sweep_key_reference,
    sweep_schema,
    yaml_reader,
)
from job_orchestration.config.config import Settings
from job_orchestration.config.json_schema import config_schema, workspace_schema
from job_orchestration.config.misspelling_patterns import pattern_of
from job_orchestration.config.settings import RULES
from job_orchestration.config.validation import KNOWN_DEFAULTS, KNOWN_KEYS, read_and_check
from job_orchestration.config.words_without_effect import WORDS
from job_orchestration.config.yaml_writer import to_yaml
from job_orchestration.diagnostics.suggestions import nearest_key
from job_orchestration.notifications.notifiers import BUILT_IN
from job_orchestration.search import parameter_space, search_settings, sweep_expansion
from job_orchestration.submission.dropped_files import Drop
from job_orchestration.submission.sweep_candidates import candidates_of
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


def problems_of(config, defaults=None):
    """What the checks find in a config that went through a file; its sweep is expanded."""
    drop = Drop("a.yaml", to_yaml(config), (0, 0, 0, 0))
    return [p for candidate in candidates_of(drop, defaults or {}) for p in candidate.problems]


def is_accepted(config, defaults=None):
    """Whether the checks find no error in a config that went through a file."""
    if "sweep" in config:
        return not any(p.is_error for p in problems_of(config, defaults))
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


PARAMETERS = st.sampled_from(["x", "a.x", "lr", "n", "seed", "name", "a.id"])
NUMBERS = st.sampled_from([-1, 0, 1, 2, 0.5, 1e-3, 7, 10**6, True, None, "2"])
FORMS = (
    st.lists(NUMBERS, max_size=4)
    | st.dictionaries(
        st.sampled_from(["linear", "log", "range", "uniform", "loguniform", "int", "choice", "m"]),
        st.lists(NUMBERS, min_size=1, max_size=3),
        min_size=1,
        max_size=2,
    ).flatmap(lambda form: st.sampled_from([form, {**form, "n": 3}, {**form, "n": 0}]))
    | NUMBERS
)
PARTS = st.dictionaries(PARAMETERS, FORMS, max_size=2)
SEARCHES = st.fixed_dictionaries(
    {"space": PARTS},
    optional={
        "method": st.sampled_from(["grid", "random", "tpe", "bayes"]),
        "metric": st.sampled_from(["a.x", "a", "b.x", 3]),
        "n": NUMBERS,
        "seed": NUMBERS,
        "parallel": NUMBERS,
        "direction": st.sampled_from(["minimize", "min"]),
        "prune": st.sampled_from(["median", True]),
        "trials": st.just(3),
    },
)
SWEEPS = st.fixed_dictionaries(
    {},
    optional={
        "grid": PARTS,
        "zip": PARTS,
        "random": PARTS,
        "exclude": st.sampled_from(["x > 1", "", "y == 2", 3]),
        "gird": PARTS,
    },
) | st.builds(lambda search: {"search": search}, SEARCHES)


@settings(max_examples=120)
@given(SWEEPS)
@example({"search": {"method": "grid", "metric": "a", "space": {"x": {"choice": [1, 2]}}}})
@example({"random": {"n": 2, "seed": 1, "x": {"int": [1, 9]}}, "zip": {"lr": {"log": [0.1, 1], "n": 2}}})
@example({"grid": {"x": [1, 1.0, True, "1"]}, "exclude": "x == 1"})
def test_a_sweep_that_passes_the_checks_passes_the_schema(sweep):
    config = {**FINE, "sweep": sweep}
    if is_accepted(config):
        SCHEMA.validate(config)


RECIPIENTS = st.dictionaries(
    st.sampled_from(["to", "command", "callback", "plugin", "on"]),
    st.sampled_from(
        ["x", " ", ["x"], [], [""], 3, None, "failed", "queue_empty", ["completed", "stalled"], "no"]
    ),
    max_size=3,
)


@settings(max_examples=120)
@given(st.none() | st.sampled_from(["mailto://x", "", 7]) | RECIPIENTS | st.lists(RECIPIENTS, max_size=2))
def test_recipients_that_pass_the_checks_pass_the_schema_and_no_others(notify):
    config = {**FINE, "notify": notify}
    assert SCHEMA.is_valid(config) == is_accepted(config)


@settings(max_examples=300)
@given(
    st.sampled_from(KNOWN_KEYS),
    st.integers(1, 12),
    st.sampled_from(["", "x", "_", "S"]),
    st.booleans(),
    st.sets(st.sampled_from(KNOWN_KEYS), max_size=3),
)
def test_a_config_that_is_not_warned_of_passes_the_schema(key, at, letter, is_replaced, others):
    misspelt = key[:at] + letter + key[at + is_replaced :]
    config = {**FINE, **{other: None for other in others if other != "sweep" and other not in FINE}}
    config |= {} if misspelt in KNOWN_KEYS else {misspelt: 1}
    if not problems_of(config):
        SCHEMA.validate(config)


@pytest.mark.parametrize("schema", [config_schema(), workspace_schema()], ids=lambda s: s["title"])
@pytest.mark.parametrize(
    "key",
    [
        *("maxAttempt", "maxAttemps", "maxAtempts", "max_attempts", "timout", "Timeout", "memorylimit"),
        *("output_dir", "task", "needs", "when", "foreach", "reuse", "inputs"),
    ],
)
def test_a_key_that_the_checks_warn_of_is_underlined(schema, key):
    assert not jsonschema.Draft202012Validator(schema).is_valid({key: 1})
    assert jsonschema.Draft202012Validator(schema).is_valid({"anything": 1, "epochs": 2})


def test_what_an_editor_refuses_as_misspelt_is_what_the_checks_would_ask_about():
    known = {*KNOWN_DEFAULTS, *KNOWN_KEYS, *WORDS, "pathToModuleCode"}
    for key in (*KNOWN_DEFAULTS, "sweep"):
        pattern = re.compile(pattern_of(key))
        assert not [other for other in known if other not in WORDS and pattern.search(other)]
        for i in range(len(key) + 1):
            for other in (key[:i] + key[i + 1 :], f"{key[:i]}x{key[i:]}", f"{key[:i]}x{key[i + 1 :]}"):
                if pattern.search(other):
                    assert nearest_key(other, (*KNOWN_DEFAULTS, "sweep"), ()) == key


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
        {"resources": 3},
        {"resources": {"gpus": 0.5}},
        {"resources": {"memory": "much"}},
        {"resources": {"a b": 1}},
        {"notify": 7},
        {"notify": [{"to": "x", "command": "y"}]},
        {"notify": {"to": "x", "on": "never"}},
        {"notify": {"to": "x", "on": "queue_empty"}},
        {"callbackUrl": "example.org"},
        {"callbackUrl": 7},
        {"sweep": None},
        {"sweep": {}},
        {"sweep": {"gird": {"x": [1]}}},
        {"sweep": {"gird": 3}},
        {"sweep": {"grid": {"x": [1, 2]}, "exclud": "x == 1"}},
        {"sweep": {"random": {"n": 3, "x": {"int": [0, 1], "step": 1}}}},
        {"sweep": {"exclude": "x > 1"}},
        {"sweep": {"grid": {"x": 1}}},
        {"sweep": {"grid": {"x": []}}},
        {"sweep": {"grid": {"outputDir": ["a"]}}},
        {"sweep": {"grid": {"x": {"linear": [0, 1]}}}},
        {"sweep": {"grid": {"x": {"uniform": [0, 1]}}}},
        {"sweep": {"random": {"x": {"uniform": [0, 1]}}}},
        {"sweep": {"random": {"n": 3}}},
        {"sweep": {"random": {"n": 3, "x": {"unifrom": [0, 1]}}}},
        {"sweep": {"random": {"n": 3, "x": {"loguniform": [0, 1]}}}},
        {"sweep": {"search": {"method": "bayes", "metric": "a", "n": 3, "space": {"x": [1]}}}},
        {"sweep": {"search": {"method": "random", "metric": "a", "space": {"x": [1]}}}},
        {"sweep": {"search": {"method": "random", "metric": "a", "n": 3, "space": {}}}},
        {"sweep": {"search": {"method": "random", "metric": "a", "n": 3, "space": {"x": [1]}, "seeds": 1}}},
        {"sweep": {"search": {"method": "grid", "metric": "a", "space": {"x": {"int": [1, 3]}}}}},
        {"sweep": {"search": {"method": "grid", "metric": "a", "space": {"x": [1]}}, "grid": {"y": [1]}}},
    ],
    ids=json.dumps,
)
def test_a_known_mistake_is_refused_by_both(mistake):
    assert is_accepted(FINE)
    assert not is_accepted({**FINE, **mistake})
    assert not SCHEMA.is_valid({**FINE, **mistake})


def test_every_key_has_a_description():
    def without(schema, path):
        for key, inner in schema.get("properties", {}).items():
            if not inner.get("description"):
                yield f"{path}{key}"
            yield from without(inner, f"{path}{key}.")
        if "items" in schema:
            yield from without(schema["items"], f"{path}[].")
        for inner in schema.get("anyOf", []):
            yield from without(inner, path)

    assert not [*without(config_schema(), ""), *without(workspace_schema(), "")]
    assert set(key_reference.TOP) == set(KNOWN_KEYS)
    assert {*key_reference.TOP, *key_reference.WORKSPACE_ONLY} == {*KNOWN_DEFAULTS, "sweep"}


def test_the_tables_of_keys_are_those_of_the_checks():
    assert tuple(sweep_key_reference.SWEEP) == sweep_expansion.PARTS
    assert set(sweep_key_reference.SEARCH) == set(search_settings._PARTS)
    assert set(sweep_key_reference.POINTS) == set(parameter_space._POINTS)
    assert set(sweep_key_reference.DISTRIBUTIONS) == set(parameter_space._DOMAINS)
    assert {*key_reference.RECIPIENT} == {*BUILT_IN, "on"}
    search = config_schema()["properties"]["sweep"]["properties"]["search"]["properties"]
    assert tuple(search["method"]["enum"]) == search_settings.METHODS
    assert tuple(search["direction"]["enum"]) == search_settings.DIRECTIONS
    assert sweep_schema.MOST_VALUES == parameter_space.MOST_VALUES
    assert set(sweep_schema.NO_PARAMETERS) == sweep_expansion._OURS
    assert notification_settings.NOTIFY in key_reference.TOP


@pytest.mark.parametrize("key", sorted(RULES))
def test_the_default_that_is_described_is_the_one_that_holds(key):
    root, problems = yaml_reader.read(f"x: {key_reference.TOP[key].default}".encode(), "a.yaml")
    assert not problems
    value = yaml_reader.plain(root)["x"]
    held = getattr(Settings(), RULES[key].field)
    assert (None if value is None else RULES[key].read(value)) == held


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
    def patterns(schema):
        if isinstance(schema, dict):
            yield from [schema["pattern"]] if isinstance(schema.get("pattern"), str) else []
            yield from schema.get("patternProperties", {})
        for inner in (
            schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
        ):
            yield from patterns(inner)

    found = [*patterns(config_schema()), *patterns(workspace_schema())]
    assert len(found) > 40
    for pattern in found:
        assert pattern.isascii()
        assert not re.search(r"\(\?[P#<]|\\[AZzdwsbDWSB]", pattern), pattern
