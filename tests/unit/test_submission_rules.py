"""Test what a config from the network may say."""

from __future__ import annotations

import pytest

from job_orchestration.web import submission_rules
from job_orchestration.web.submission_rules import (
    callback_problem,
    is_allowed_callback,
    name_problem,
    problems_of,
)

TASKS = [{"id": "one", "method": "job_orchestration.geneplexus:LoadGeneset"}]


def keys(config, defaults=None):
    return [problem.key for problem in problems_of({"tasks": TASKS, **config}, defaults or {})]


def test_a_plain_config_of_built_in_tasks_may_come():
    config = {
        "outputDir": "{date}/a",
        "net_type": "STRING",
        "lr": [0.1, {"x": None}],
        "text": "a/b ~ c: $x",
        "z": "{run}",
    }
    assert keys(config) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("notify", {"command": "reboot"}), ("notify", None), ("pathToTasks", "a"), ("pathToModuleCode", "a"),
        ("overwriteOutputFine", True), ("UNSAFE_ignoreDirtyCheck", True), ("sweep", {"grid": {"a": [1]}}),
        ("callbackPublicOnly", False), ("file", "/etc/passwd"), ("file", " /etc/passwd"), ("file", "~/x"),
        ("file", "a/../b"), ("file", "..\\b"), ("file", "file:///etc/passwd"), ("file", "\\\\server\\x"),
        ("inputs", ["/data"]), ("x", "a${HOME}"), ("callbackUrl", "https://example.org/${SECRET}"),
    ],
)  # fmt: skip
def test_a_config_from_the_network_has_no_power_over_the_machine(key, value):
    found = keys({key: value})
    assert [name.partition("[")[0] for name in found] == [key] if value is not None else found == []


def test_what_the_owner_wrote_as_a_default_may_be_said_again():
    defaults = {"pathToTasks": "/home/you/tasks", "file_loc": "/data", "allowedMethods": ["Train"]}
    config = {**defaults, "tasks": [{"id": "one", "method": "Train"}]}
    del config["allowedMethods"]
    assert problems_of(config, defaults) == []
    assert [p.key for p in problems_of({**config, "pathToTasks": "/home/you/others"}, defaults)] == [
        "pathToTasks"
    ]
    assert [p.key for p in problems_of({"tasks": TASKS}, defaults)] == ["tasks[0].method"]


def test_a_value_that_is_nested_without_end_is_a_problem_and_no_recursion():
    deep: object = "x"
    for _ in range(900):
        deep = [deep]
    (key,) = keys({"a": deep})
    assert key.startswith("a[0][0]")


@pytest.mark.parametrize("name", ["a", "8e3jt5kz", "A.b_c-1", "x" * 63])
def test_a_name_may_be_letters_digits_and_three_signs(name):
    assert name_problem(name) is None


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "a/b",
        "-rf",
        "a b",
        "a\n",
        "a\r\nX: y",
        "x" * 64,
        "é",
        "a~b",
        "$(x)",
        "a.yaml",
        "\ud800",
    ],
)
def test_any_other_name_is_refused(name):
    assert name_problem(name) is not None


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/", "http://localhost:5000/x", "http://a.localhost/", "http://[::1]/", "http://10.0.0.7/",
        "http://169.254.169.254/latest", "http://metadata.google.internal/", "http://2130706433/", "http://0x7f.1/",
        "http://0177.0.0.1/", "http://127.1/", "http://printer.local/", "http://localhost./", "http://[::ffff:10.0.0.1]/",
    ],
)  # fmt: skip
def test_a_callback_into_the_own_network_is_refused_unless_the_owner_names_it(url):
    assert callback_problem(url) is not None
    assert not is_allowed_callback(url, {})


def test_a_public_callback_may_come_and_the_owner_may_allow_others():
    assert callback_problem("https://example.org/jobs/{name}") is None
    assert callback_problem("https://abc.example/") is None
    defaults = {"callbackHosts": ["127.0.0.1:5000", "*.lab"]}
    assert is_allowed_callback("http://127.0.0.1:5000/x", defaults)
    assert not is_allowed_callback("http://127.0.0.1:5001/x", defaults)
    assert is_allowed_callback("http://web.lab/x", defaults)
    assert not is_allowed_callback("http://lab.example/", defaults)
    assert not is_allowed_callback("http://127.0.0.1:99999/", defaults)
    assert submission_rules.allowed_methods({"allowedMethods": []}) == ()
