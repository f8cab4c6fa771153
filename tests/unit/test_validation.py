"""From a tree to a config, or to everything that is wrong with it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from job_orchestration.config import validation, yaml_reader, yaml_writer
from job_orchestration.config.config import Isolation, Settings, TaskSpec
from job_orchestration.config.settings import settings_of
from job_orchestration.config.validation import read_and_check
from job_orchestration.diagnostics.problems import Severity

GOOD = """\
githubRepository: https://example.org/you/project.git
pathToTasks: /home/you/project
outputDir: "{date}/bbs_{time}"
tasks:
  - {id: load, method: LoadGeneset}
  - {id: train, method: Train, epochs: 5}
anything: else
"""
TASKS = "tasks: [{id: a, method: 'p:A'}]\n"
LEAST = "outputDir: x\n" + TASKS
EXAMPLE = "Write a list of entries such as `- {id: train, method: Train}`."
SECONDS = "Write seconds as a number, or a text such as 30s, 5m, 4h or 1d."
BYTES = "Write bytes as a whole number, or a text such as 500M or 8G."


def checked(text, defaults=None, name="a"):
    return read_and_check(text.encode(), "a.yaml", name, defaults or {})


def complaints(text, defaults=None):
    found = checked(text, defaults)
    assert (found.config is None) == any(problem.is_error for problem in found.problems)
    return [str(problem) for problem in found.problems]


# -- good configs -----------------------------------------------------------------------------------------


def test_a_good_config_is_read():
    found = checked(GOOD)
    assert found.problems == ()
    config = found.config
    assert (config.name, config.output_dir, config.path_to_tasks) == (
        "a",
        "{date}/bbs_{time}",
        "/home/you/project",
    )
    assert config.tasks == (TaskSpec("load", "LoadGeneset"), TaskSpec("train", "Train", {"epochs": 5}))
    assert config.values["anything"] == "else"
    assert config.values["tasks"][1] == {"id": "train", "method": "Train", "epochs": 5}
    assert config.settings == Settings()
    assert (found.tasks, found.path_to_tasks, found.values) == (
        config.tasks,
        config.path_to_tasks,
        config.values,
    )


def test_the_first_releases_demo_is_a_good_config():
    text = (
        "UNSAFE_ignoreDirtyCheck: true\ngithubRepository: https://example.org/x.git\noutputDir: test\n"
        "pathToTasks: /x\ntasks:\n- id: Test\n  method: Test\nx: 10\ny: 50\n"
    )
    assert complaints(text) == []
    assert checked(text).config.settings.ignore_dirty_check


def test_a_config_needs_no_more_than_an_output_folder_and_a_task():
    assert complaints(LEAST) == []
    assert checked(LEAST).config.path_to_tasks is None


def test_settings_are_read_with_their_units():
    text = LEAST + (
        "maxAttempts: 5\nretryDelay: 1.5\nmaxInterruptions: 0\nisolation: spawn\ngraceTime: 5m\ntimeout: 4h\n"
        "stallTimeout: 1d\nmemoryLimit: 8G\nlogLimit: 500M\noverwriteOutputFine: true\n"
        "UNSAFE_ignoreDirtyCheck: false\nseed: 4294967295\n"
    )
    assert complaints(text) == []
    expected = Settings(
        max_attempts=5, retry_delay=1.5, max_interruptions=0, isolation=Isolation.SPAWN, grace_time=300.0,
        timeout=14_400.0, stall_timeout=86_400.0, memory_limit=8_000_000_000, log_limit=500_000_000,
        overwrite_output=True, ignore_dirty_check=False, seed=2**32 - 1,
    )  # fmt: skip
    assert checked(text).config.settings == expected
    assert settings_of(checked(text).values) == expected


def test_null_is_as_good_as_leaving_a_key_out():
    text = LEAST + "timeout:\nmaxAttempts: ~\ngithubRepository: null\npathToTasks:\n"
    assert complaints(text, {"timeout": "4h", "maxAttempts": 9}) == []
    assert checked(text, {"timeout": "4h", "maxAttempts": 9}).config.settings == Settings()


def test_the_workspaces_defaults_lie_under_the_config():
    defaults = {"maxAttempts": 7, "callbackUrl": "https://example.org", "outputDir": "theirs"}
    config = checked("maxAttempts: 2\n" + TASKS, defaults).config
    assert config.settings.max_attempts == 2
    assert config.values["callbackUrl"] == "https://example.org"
    assert config.output_dir == "theirs"
    assert list(config.values) == ["maxAttempts", "tasks", "callbackUrl", "outputDir"]


def test_the_old_name_of_path_to_tasks_is_taken_with_a_warning():
    text = "pathToModuleCode: /x\noutputDir: x\ntasks: [{id: a, method: A}]\n"
    assert complaints(text) == [
        "a.yaml:1:1: warning: pathToModuleCode: this is the old name of pathToTasks. Write pathToTasks."
    ]
    config = checked(text).config
    assert config.path_to_tasks == "/x"
    assert config.values["pathToTasks"] == "/x"


@pytest.mark.parametrize("own", ["pathToTasks", "pathToModuleCode"])
@pytest.mark.parametrize("default", ["pathToTasks", "pathToModuleCode"])
def test_a_configs_own_key_wins_over_the_workspaces_by_either_name(own, default):
    config = checked(f"{own}: /mine\n{LEAST}", {default: "/theirs", "seed": 3}).config
    assert config.path_to_tasks == config.values["pathToTasks"] == "/mine"
    assert "/theirs" not in config.values.values()
    assert config.values["seed"] == 3
    assert checked(LEAST, {default: "/theirs"}).path_to_tasks == "/theirs"


@pytest.mark.parametrize("own", ["pathToTasks", "pathToModuleCode"])
@pytest.mark.parametrize("default", ["pathToTasks", "pathToModuleCode"])
def test_null_takes_a_default_back_by_either_name(own, default):
    assert checked(f"{own}:\n{LEAST}", {default: "/theirs"}).path_to_tasks is None


def test_a_key_is_found_by_its_old_name():
    found = checked("x: 1\npathToModuleCode: /x\n" + LEAST)
    assert found.place("pathToTasks") == found.place("pathToModuleCode") == (2, 19)


# -- problems ---------------------------------------------------------------------------------------------


@pytest.mark.seed_fault("B-JO-19")
def test_everything_missing_is_said_at_once():
    assert complaints("x: 1\n") == [
        'a.yaml:1:1: outputDir: the folder for the output is missing. Write one such as "{date}/{name}".',
        f"a.yaml:1:1: tasks: the tasks are missing. {EXAMPLE}",
    ]


@pytest.mark.seed_fault("B-JO-20")
def test_a_duplicate_id_is_refused_with_its_line():
    tasks = "".join(f"  - {{id: {id_}, method: 'p:A'}}\n" for id_ in "aba")
    text = f"outputDir: x\ntasks:\n{tasks}"
    assert complaints(text) == [
        (
            "a.yaml:5:10: tasks[2].id: duplicate id 'a', already used by tasks[0]. "
            "Give each task an id of its own."
        )
    ]


@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        ("''", "the path is empty"),
        ("..", "the folder '..' begins with a '.'"),
        ("/etc", "'/etc' is an absolute path"),
        ("a/../../b", "the folder '..' begins with a '.'"),
    ],
)
@pytest.mark.seed_fault("B-JO-14")
def test_an_output_folder_outside_output_is_refused(template, sentence):
    text = f"overwriteOutputFine: true\noutputDir: {template}\n{TASKS}"
    assert complaints(text) == [
        f'a.yaml:2:12: outputDir: {sentence}. Write a folder inside Output, such as "{{date}}/{{name}}".'
    ]


@pytest.mark.seed_fault("B-JO-17")
def test_other_placeholders_are_refused_by_name():
    assert complaints('outputDir: "{foo}/x"\n' + TASKS) == [
        (
            "a.yaml:1:12: outputDir: '{foo}' is not a placeholder. "
            "Use braces only in {date}, {time}, {name} and {commit}."
        )
    ]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("maxAttempts: 0", "0 is not a whole number from 1 up. Write a number such as 3."),
        ("maxAttempts: true", "true is not a whole number from 1 up. Write a number such as 3."),
        ("maxAttempts: 3.0", "3.0 is not a whole number from 1 up. Write a number such as 3."),
        ("maxAttempts: '3'", "'3' is not a whole number from 1 up. Write a number such as 3."),
        ("maxInterruptions: -1", "-1 is not a whole number from 0 up. Write a number such as 20."),
        ("retryDelay: 5 min", f"'5 min' is not a time. {SECONDS}"),
        ("retryDelay: -1", f"-1 is not a time. {SECONDS}"),
        ("graceTime: [1]", f"a list is not a time. {SECONDS}"),
        ("timeout: 0", f"0 is not a time above 0. {SECONDS}"),
        ("stallTimeout: {a: 1}", f"a mapping is not a time above 0. {SECONDS}"),
        ("memoryLimit: 8X", f"'8X' is not a size. {BYTES}"),
        ("logLimit: 1.5", f"1.5 is not a size. {BYTES}"),
        ("isolation: thread", "'thread' is not a way to isolate a run. Write fork or spawn."),
        ("overwriteOutputFine: yes", "'yes' is not true or false. Write true or false."),
        ("UNSAFE_ignoreDirtyCheck: 1", "1 is not true or false. Write true or false."),
        ("seed: -1", "-1 is not a whole number from 0 to 4294967295. Write a number such as 1."),
        (
            "seed: 4294967296",
            "4294967296 is not a whole number from 0 to 4294967295. Write a number such as 1.",
        ),
        ("githubRepository: 3", "3 is not a text. Put it in quotes if it is meant as one."),
        ("pathToTasks: [a]", "a list is not a text. Put it in quotes if it is meant as one."),
        ("pathToTasks: ''", "'' is not a usable text. Write one, or leave the key out."),
        ("outputDir: 5", '5 is not a text. Write one such as "{date}/{name}".'),
        ("tasks: []", f"an empty list is not a list of tasks. {EXAMPLE}"),
        ("tasks: {id: a}", f"a mapping is not a list of tasks. {EXAMPLE}"),
    ],
)
def test_a_value_that_is_not_allowed_is_refused_with_its_place(line, complaint):
    key, _, value = line.partition(": ")
    rest = "".join(part for part in LEAST.splitlines(keepends=True) if not part.startswith(f"{key}:"))
    assert complaints(f"{line}\n{rest}") == [f"a.yaml:1:{len(key) + 3}: {key}: {complaint}"]
    assert value


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ("3", "4: tasks[0]: 3 is not a task. Write an entry such as `{id: train, method: Train}`."),
        ("{method: 'p:A'}", "4: tasks[0].id: the task has no id. Write it."),
        ("{ID: a, method: 'p:A'}", "4: tasks[0].id: the task has no id. Write it instead of 'ID'."),
        ("{id: a, methods: A}", "4: tasks[0].method: the task has no method. Write it instead of 'methods'."),
        (
            "{id: 1, method: 'p:A'}",
            "9: tasks[0].id: 1 is not a text. Put it in quotes if it is meant as one.",
        ),
        ("{id: a/b, method: 'p:A'}", "9: tasks[0].id: the id 'a/b' holds a '/'. Give the task another id."),
        (
            "{id: journal, method: 'p:A'}",
            "9: tasks[0].id: the id 'journal' is the name of a file of the run. Give the task another id.",
        ),
        (
            "{id: a, method: p.A}",
            (
                "20: tasks[0].method: 'p.A' is not the name of a class. Write the name of a class in "
                "Tasks.py, or package.module:Name for a class that can be imported."
            ),
        ),
        ("{id: a, method: 'p:A', timeout: x}", f"36: tasks[0].timeout: 'x' is not a time above 0. {SECONDS}"),
    ],
)
def test_a_task_that_is_not_allowed_is_refused_with_its_place(entry, complaint):
    assert complaints(f"outputDir: x\ntasks:\n - {entry}\n")[0] == f"a.yaml:3:{complaint}"


def test_a_class_of_tasks_py_needs_the_folder_of_tasks_py():
    assert complaints("outputDir: x\ntasks: [{id: a, method: 'p:A'}, {id: b, method: Train}]\n") == [
        (
            "a.yaml:1:1: pathToTasks: the folder of Tasks.py is missing, where the class 'Train' is "
            "looked for. Write it, or write the method as package.module:Name."
        )
    ]


def test_all_problems_of_a_file_come_in_its_order_those_of_reading_among_them():
    text = "maxAttempts: 0\nx: !a 1\ntasks:\n - {id: a/b, method: 'p:A'}\noutputDir: ..\nx: 2\nseed: no\n"
    found = checked(text)
    assert found.config is None
    assert [problem.line for problem in found.problems] == [1, 2, 4, 5, 6, 7]


def test_a_config_with_an_error_of_reading_alone_is_no_config():
    assert checked(LEAST + "x: 1\nx: 2\n").config is None
    assert checked("a: [\n").config is None


def test_tasks_are_handed_out_even_when_something_else_is_wrong():
    text = (
        "pathToTasks: /x\ntasks:\n - 3\n - {id: a/b, method: A, x: 1}\n - {id: c, method: 'p q'}\nseed: x\n"
    )
    found = checked(text)
    assert found.config is None
    assert found.tasks == (TaskSpec("", ""), TaskSpec("", "A", {"x": 1}), TaskSpec("c", ""))
    assert found.path_to_tasks == "/x"


def test_a_problem_of_the_defaults_is_put_down_to_them():
    assert complaints(LEAST, {"timeout": "soon"}) == [
        f"a.yaml:1:1: timeout: 'soon' is not a time above 0, which workspace.yaml says. {SECONDS}"
    ]


def test_later_problems_are_placed_like_ours():
    found = checked(GOOD)
    assert found.place("tasks[1].method") == (6, 25)
    assert found.place("tasks[1].epochs") == (6, 40)
    assert found.place("tasks[1].missing") == (6, 5)
    assert found.place("tasks[9]") == (5, 3)
    assert found.place("nothing.at.all") == (1, 1)
    assert found.place("pathToTasks") == (2, 14)
    assert checked("").place("tasks") == (0, 0)


def test_thousands_of_problems_are_cut_short():
    found = checked("outputDir: x\ntasks: [" + "1," * 5_000 + "]\n")
    assert len(found.problems) == yaml_reader.MAX_PROBLEMS + 1
    assert found.problems[-1].what == "there are 4950 more problems"


def test_a_misspelt_key_is_a_warning_and_passes_through():
    found = checked(LEAST + "maxAttempt:\n  5\n")
    assert found.config.values["maxAttempt"] == 5
    (problem,) = found.problems
    assert problem.severity is Severity.WARNING
    assert str(problem) == (
        "a.yaml:3:1: warning: maxAttempt: this is not a known key, so only the tasks get it. "
        "Did you mean 'maxAttempts'?"
    )


# -- laws -------------------------------------------------------------------------------------------------

odd = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.floats(-2, 2), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["id", "method", "timeout", "x"]), inner, max_size=3),
    ),
    max_leaves=6,
)
configs = st.dictionaries(
    st.one_of(st.sampled_from(validation.KNOWN_KEYS), st.text(max_size=6)), odd, max_size=8
)


@settings(max_examples=150, deadline=None)
@given(configs, configs)
def test_whatever_the_values_the_answer_is_a_config_or_problems(values, defaults):
    found = read_and_check(yaml_writer.to_yaml(values), "a.yaml", "a", defaults)
    assert (found.config is None) == any(problem.is_error for problem in found.problems)
    for problem in found.problems:
        assert "\n" not in str(problem)
        assert problem.line >= 1
    if found.config is not None:
        assert settings_of(found.config.values) == found.config.settings


@pytest.mark.parametrize(
    ("resources", "sentence"),
    [
        ("{memory: much}", f"3:21: resources.memory: 'much' is not a size. {BYTES}"),
        ("{a: 1, gpus: 0.5}", "3:25: resources.gpus: 0.5 is not a whole number from 0 to 1000000000. "),
        ("{'a b': 1}", "3:20: resources.a b: 'a b' is no name of a resource. Use letters, digits, - and _"),
        ("3", "3:12: resources: 3 is not a mapping of names to whole numbers. "),
    ],
)
def test_a_problem_about_a_resource_points_at_it(resources, sentence):
    (complaint,) = complaints(f"{LEAST}resources: {resources}\n")
    assert complaint.startswith(f"a.yaml:{sentence}")
