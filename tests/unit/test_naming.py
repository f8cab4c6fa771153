"""Names: of config files, of tokens, of workers, of tasks, of output folders."""

from __future__ import annotations

import os.path
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from job_orchestration.diagnostics.problems import Fault
from job_orchestration.workspace import naming
from job_orchestration.workspace.naming import TokenName

NOW = datetime(2026, 11, 20, 5, 15, 7, tzinfo=UTC)
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def render(template, name="a", commit=COMMIT):
    return naming.render_output_dir(template, name=name, now=NOW, commit=commit)


# -- config files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.yaml", "a.yml", "A.YAML", "a.b.Yml", "-rf.yaml", "a b.yaml", "~x.yaml"])
def test_a_file_that_ends_like_yaml_is_meant_as_a_config(name):
    assert naming.is_config_name(name)


@pytest.mark.parametrize(
    "name",
    [".a.yaml", ".yaml", ".DS_Store", "a.yaml~", "a.yaml.problems.txt", "a.txt", "yaml", "a.yaml.swp", ""],
)
def test_other_files_are_no_configs(name):
    assert not naming.is_config_name(name)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("a~g000001~x.yaml", "the file's name holds a '~'"),
        ("a\nb.yaml", "the file's name holds a control character"),
        ("a\x1b[31m.yaml", "the file's name holds a control character"),
        ("caf\udce9.yaml", "the file's name is not UTF-8"),
        ("a" * 151 + ".yaml", "the file's name is longer than 150 bytes"),
        ("é" * 76 + ".yaml", "the file's name is longer than 150 bytes"),
        ("a/b.yaml", "the file's name holds a '/'"),
        ("a.txt", "the name does not end in .yaml"),
    ],
)
def test_a_config_name_that_we_could_not_keep_is_refused(name, what):
    assert naming.stem_problem(name) == (what, "Rename the file")


@pytest.mark.parametrize(
    "name", ["a.yaml", "A.YML", "-rf.yaml", "a b.yaml", "ü.yaml", "a" * 150 + ".yaml", "a.b.yaml"]
)
def test_a_good_config_name_has_no_problem(name):
    assert naming.stem_problem(name) is None


def test_the_stem_is_what_stands_before_the_ending():
    assert [naming.stem_of(name) for name in ("a.yaml", "a.b.YML")] == ["a", "a.b"]


def test_a_taken_name_gets_the_next_number():
    assert naming.numbered("a", set().__contains__) == "a"
    assert naming.numbered("a", {"a"}.__contains__) == "a-2"
    assert naming.numbered("a", {"a", "a-2", "a-3"}.__contains__) == "a-4"


# -- tokens -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "name"),
    [
        (TokenName("a"), "a.yaml"),
        (TokenName("a", held=True), "a~held.yaml"),
        (TokenName("a", not_before="2026-11-20T05:15:00Z"), "a~wait20261120T051500Z.yaml"),
        (TokenName("a", 2, "lab3.4711.k7f"), "a~g000002~lab3.4711.k7f.yaml"),
        (TokenName("a.b", 1_234_567, "w"), "a.b~g1234567~w.yaml"),
    ],
)
def test_a_token_name_says_where_the_run_is(token, name):
    assert str(token) == name
    assert TokenName.parse(name) == token


@pytest.mark.parametrize(
    "name",
    [
        ".a.yaml", "a.yaml.tmp123", "a.yaml.problems.txt", "a.yml", "a", ".yaml", "", "~held.yaml", "a~.yaml",
        "a~g2~w.yaml", "a~g0000002~w.yaml", "a~g000000~w.yaml", "a~g000002~.yaml", "a~g000002~w~x.yaml",
        "a~g000002~w\n.yaml", "a~wait20261120.yaml", "a~wait20261320T051500Z.yaml", "a~Held.yaml",
        "a~g00000\N{ARABIC-INDIC DIGIT TWO}~w.yaml", "a/b.yaml", "a\nb.yaml", "caf\udce9.yaml",
        "a" * 181 + ".yaml", "a~g000002~..yaml",
    ],
)  # fmt: skip
def test_any_other_name_is_no_token(name):
    assert TokenName.parse(name) is None


@pytest.mark.parametrize(
    "parts",
    [
        {"generation": 1}, {"worker": "w"}, {"generation": -1, "worker": "w"}, {"stem": "a/b"},
        {"generation": 1, "worker": "a~b"},
        {"held": True, "generation": 1, "worker": "w"}, {"held": True, "not_before": "2026-11-20T05:15:00Z"},
        {"not_before": "soon"}, {"stem": "a~b"}, {"stem": ""}, {"stem": ".a"},
    ],
)  # fmt: skip
def test_a_token_that_could_not_be_read_back_is_not_made(parts):
    with pytest.raises(ValueError, match=r"token|worker|isoformat"):
        TokenName(**{"stem": "a", **parts})


def test_the_time_of_a_token_is_never_rounded_down():
    assert TokenName("a", not_before="2026-11-20T05:15:00.000001Z").not_before == "2026-11-20T05:15:01Z"
    assert TokenName("a", not_before="2026-11-20T06:15:00+01:00").not_before == "2026-11-20T05:15:00Z"
    assert TokenName("a", not_before="2026-11-20T05:15:00").not_before == "2026-11-20T05:15:00Z"


stems = st.text(min_size=1, max_size=40).filter(lambda text: naming.fault_of_name(text, 150) is None)
workers = st.builds(
    naming.worker_name,
    st.text(max_size=60),
    st.integers(1, 4_194_304),
    st.text("abc123", min_size=3, max_size=3),
)
times = st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds the zone
tokens = st.one_of(
    st.builds(TokenName, stems),
    st.builds(TokenName, stems, held=st.just(True)),
    st.builds(TokenName, stems, not_before=times.map(datetime.isoformat)),
    st.builds(TokenName, stems, st.integers(1, 10**12 - 1), workers),
)


@settings(deadline=None)
@given(tokens)
def test_every_token_is_read_back_from_its_name(token):
    name = str(token)
    assert TokenName.parse(name) == token
    assert len(name.encode()) <= 255
    assert "/" not in name


@settings(deadline=None)
@given(st.text("ag0129~wheldTZ.yml-", max_size=30).map(lambda text: text + ".yaml"))
def test_a_name_that_parses_is_the_only_name_of_its_token(name):
    token = TokenName.parse(name)
    assert token is None or str(token) == name


def test_a_worker_is_named_after_its_machine_and_process():
    assert naming.worker_name("lab3.example.org", 4711, "k7f") == "lab3.4711.k7f"
    assert naming.worker_name("my_host~x/y", 1, "abc") == "my-host-x-y.1.abc"
    assert naming.worker_name("", 1, "abc") == "host.1.abc"
    assert naming.worker_name("h" * 99, 1, "abc") == "h" * 40 + ".1.abc"


# -- tasks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("id_", ["train", "Test", "a b", "1", "ü", "-x", "a" * 100])
def test_an_id_may_be_any_name_of_a_folder(id_):
    assert naming.fault_of_id(id_) is None


@pytest.mark.parametrize(
    ("id_", "what"),
    [
        ("", "the id '' is empty"),
        ("..", "the id '..' begins with a '.'"),
        (".resume", "the id '.resume' begins with a '.'"),
        ("a/b", "the id 'a/b' holds a '/'"),
        ("a~2", "the id 'a~2' holds a '~'"),
        ("a\0", "the id 'a\0' holds a control character"),
        ("a" * 101, f"the id '{'a' * 60}…' is longer than 100 bytes"),
        *(
            (name, f"the id '{name}' is the name of a file of the run")
            for name in sorted(naming.RESERVED_NAMES)
        ),
    ],
)
def test_an_id_that_cannot_be_a_folder_is_refused(id_, what):
    assert naming.fault_of_id(id_) == (what, "Give the task another id")


def test_a_method_is_a_class_or_a_class_in_a_module():
    for method in ("Train", "package.module:Train", "module:Train", "_x", "StartHyperparameterOptimization"):
        assert naming.fault_of_method(method) is None
    for method in (
        "",
        "a.b",
        "a-b",
        ":Train",
        "a:",
        "a..b:C",
        "a:b.C",
        "a:b:C",
        "2x",
        "a b",
        "a.b: C",
        "os;x:y",
    ):
        fault = naming.fault_of_method(method)
        assert fault is not None
        assert fault.what == f"'{method}' is not the name of a class"


# -- output folders ---------------------------------------------------------------------------------------


def test_placeholders_are_rendered():
    assert render("{date}/{name}_{time}/{commit}") == "2026_11_20/a_05_15_07/0123456789ab"
    assert render("{commit}", commit=None) == "none"
    assert render("test/") == "test"
    assert render("a//b") == "a/b"


@pytest.mark.parametrize(
    ("template", "what"),
    [
        ("", "the path is empty"),
        ("/", "'/' is an absolute path"),
        ("/etc/x", "'/etc/x' is an absolute path"),
        (".", "the folder '.' begins with a '.'"),
        ("..", "the folder '..' begins with a '.'"),
        ("../x", "the folder '..' begins with a '.'"),
        ("a/../../x", "the folder '..' begins with a '.'"),
        ("a/./b", "the folder '.' begins with a '.'"),
        ("a/.hidden", "the folder '.hidden' begins with a '.'"),
        ("~root", "the folder '~root' holds a '~'"),
        ("a\nb", "the folder 'a\nb' holds a control character"),
        ("x" * 201, f"the folder '{'x' * 60}…' is longer than 200 bytes"),
        ("/".join("x" * 17), "the path has more than 16 folders or 1000 bytes"),
        ("/".join(["x" * 199] * 6), "the path has more than 16 folders or 1000 bytes"),
    ],
)
@pytest.mark.seed_fault("B-JO-14")
def test_an_output_folder_never_leaves_output(template, what):
    assert render(template) == (what, 'Write a folder inside Output, such as "{date}/{name}"')


@pytest.mark.parametrize(
    ("template", "what"),
    [
        ("{foo}/x", "'{foo}' is not a placeholder"),
        ("{date:%Y}", "'{date:%Y}' is not a placeholder"),
        ("{}", "'{}' is not a placeholder"),
        ("{date!r}", "'{date!r}' is not a placeholder"),
        ("a}b", "its braces do not match"),
        ("{date", "its braces do not match"),
        ("{{date}}", "its braces do not match"),
    ],
)
@pytest.mark.seed_fault("B-JO-17")
def test_other_braces_are_refused_by_name(template, what):
    assert render(template) == (what, "Use braces only in {date}, {time}, {name} and {commit}")


def test_what_a_placeholder_brings_is_checked_like_the_rest():
    assert isinstance(render("{name}", name=".."), Fault)
    assert isinstance(render("{name}", name="/etc"), Fault)
    assert render("{name}", name="{date}") == "{date}"


pieces = st.sampled_from(
    ["{date}", "{time}", "{name}", "{commit}", "..", ".", "/", "//", "~", "\0", "a", "{", "}", "…"]
)
templates = st.one_of(st.lists(pieces, max_size=8).map("".join), st.text(max_size=20))


@settings(max_examples=300, deadline=None)
@given(templates, templates, st.one_of(st.none(), templates))
def test_whatever_the_template_the_folder_stays_inside_output(template, name, commit):
    path = render(template, name, commit)
    if isinstance(path, Fault):
        assert path.what
        assert path.todo
        return
    assert os.path.normpath(os.path.join("/w/Output", path)) == f"/w/Output/{path}"
    assert path not in {"", "."}
    assert not {"", ".", ".."} & set(path.split("/"))
    assert "\0" not in path
