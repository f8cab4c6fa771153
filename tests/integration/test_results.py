"""Which runs are meant, what is read of them, and where their tables can go."""

import json
import math
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from job_orchestration import Workspace
from job_orchestration.commands import selection
from job_orchestration.commands.results import Arrangement, results
from job_orchestration.commands.selection import Selection, chosen
from job_orchestration.config.expressions import parse
from job_orchestration.diagnostics.errors import OrchestrationError, UsageError
from job_orchestration.results import database, result_files
from job_orchestration.results.tables import Table
from job_orchestration.runs import catalog
from job_orchestration.runs.events import Outcome, OutputFile
from job_orchestration.runs.state import RunState, TaskState
from job_orchestration.workspace.layout import Place, locate
from tests.integration.seed_runs import make_run


@pytest.fixture
def runs(workspace):
    """Four runs: three with results, of which one has no file of its own, and one that still runs."""
    make_run(workspace, "sweep/lr=1", x=1, score=0.5)
    make_run(workspace, "sweep/lr=2", x=2, score=0.9)
    make_run(workspace, "other", x=3)
    make_run(workspace, "going", x=4, status="RUNNING")
    return locate(str(workspace))


def found(runs, *names, status="", text=""):
    choice = Selection(
        names, selection.statuses_of(status) if status else frozenset(), parse(text) if text else None
    )
    return {r.run for r in chosen(runs, catalog.entries(runs), choice)}


# -- which ------------------------------------------------------------------------------------------------


def test_runs_are_chosen_by_names_globs_and_filters_together(runs):
    assert found(runs) == {"sweep/lr=1", "sweep/lr=2", "other", "going"}
    assert found(runs, "sweep/*") == {"sweep/lr=1", "sweep/lr=2"}
    assert found(runs, "Output/sweep/lr=[2-9]", "other.yaml") == {"sweep/lr=2", "other"}
    assert found(runs, "*", text="x > 2") == {"other", "going"}
    assert found(runs, "sweep/*", text="x > 2") == set()
    assert found(runs, text="epochs == 5 and train.epochs == 5 and score >= 0.5") == {
        "sweep/lr=1",
        "sweep/lr=2",
    }
    assert found(runs, text="score is null and elapsed_s is not null") == {"other"}
    assert found(runs, text="config == 'other' or 'lr=1' in run") == {"other", "sweep/lr=1"}


def test_a_name_with_brackets_is_first_of_all_a_name(workspace):
    make_run(workspace, "a[1]")
    make_run(workspace, "a1")
    runs = locate(str(workspace))
    assert found(runs, "a[1]") == {"a[1]"}
    assert found(runs, "a[1-9]") == {"a1"}


@pytest.mark.parametrize(
    ("names", "text", "says"),
    [
        (["nothing"], "", "There is no run nothing"),
        (["other", "swep/*"], "", r"There is no run that swep/\* fits"),
        ([], "scor > 1", "No run here has scor. Did you mean score?"),
        (["oter"], "", "Did you mean other?"),
    ],
)
def test_what_means_nothing_is_said(runs, names, text, says):
    with pytest.raises(UsageError, match=says):
        found(runs, *names, text=text)


def test_a_key_that_means_two_columns_is_not_guessed(workspace):
    folder = make_run(workspace, "a", score=1)
    (folder / "results.yaml").write_text("{one: {loss: 1}, two: {loss: 2}}")
    runs = locate(str(workspace))
    with pytest.raises(UsageError, match=r"loss may mean one\.loss, two\.loss"):
        found(runs, text="loss > 0")
    assert found(runs, text="one.loss < two.loss") == {"a"}


def test_words_of_status_are_places_and_ends(runs):
    records = catalog.entries(runs)
    ended = [
        replace(r, place=Place.FAILED, folded=RunState(outcome=outcome), cached=None, run=str(outcome))
        for r, outcome in zip(
            records, [Outcome.CANCELLED, Outcome.OOM, Outcome.ERROR, Outcome.OK], strict=True
        )
    ]
    held = replace(records[0], run="held", place=Place.HELD, path="a~held.yaml", folded=None, cached=None)

    def those(words):
        choice = Selection(statuses=selection.statuses_of(words))
        return [r.run for r in chosen(runs, [*ended, held], choice)]

    assert those("cancelled") == ["cancelled"]
    assert those("oom, Held") == ["oom", "held"]
    waiting = replace(held, run="waits", place=Place.TO_RUN, path="b.yaml")
    assert those("to run") == those("to-run") == []
    held = waiting
    assert those("to run") == those("to-run") == ["waits"]
    assert len(those("failed")) == 4
    with pytest.raises(ValueError, match="'fine' is not one of"):
        selection.statuses_of("failed,fine")


# -- what is read -----------------------------------------------------------------------------------------


def test_metrics_that_a_task_saved_count_only_in_the_folder_that_counts(tmp_path):
    for name, value in (("train", 1), ("train~2", 2)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.json").write_text(f'{{"acc": {value}, "bad": NaN}}')
    (tmp_path / "train~2" / "deep").mkdir()
    (tmp_path / "train~2" / "deep" / "metrics.json").write_text("{}")
    outputs = (OutputFile("train~2/metrics.json", 9, ""), OutputFile("train~2/deep/metrics.json", 9, ""))
    state = RunState(tasks=(TaskState("train", "T", folder="train~2", outputs=outputs),))
    ((task, value),), notes = result_files.saved(str(tmp_path), state)
    assert (task, value["acc"], notes) == ("train", 2, [])
    assert math.isnan(value["bad"])


@pytest.mark.parametrize(
    "text",
    [
        "a: [1",
        "a: &x [1]\nb: *x",
        "[" * 100_000,
        "a: !!python/object:os.system {}",
        "\xff\x00",
        "x" * (result_files.MOST_BYTES + 1),
        "a: 0x" + "9" * 9000,
    ],
)
def test_a_results_file_that_cannot_be_read_is_left_out_with_a_sentence(tmp_path, text):
    (tmp_path / "results.yaml").write_text(text, encoding="latin-1")
    values, notes = result_files.saved(str(tmp_path), RunState())
    assert values == []
    assert "results.yaml is left out of the results" in notes[0]


def test_a_results_file_that_is_a_link_is_left_out_with_a_sentence(tmp_path):
    (tmp_path / "elsewhere").write_text("a: 1\n")
    (tmp_path / "results.yaml").symlink_to("elsewhere")
    values, notes = result_files.saved(str(tmp_path), RunState())
    assert values == []
    assert notes == [f"{tmp_path}/results.yaml is left out of the results: it is a symbolic link."]


def test_what_yaml_can_say_and_json_cannot_is_put_in_words(tmp_path):
    (tmp_path / "results.yaml").write_text("{d: 2026-11-20, s: !!set {a}, n: .nan, 1: one, b: !!binary aGk=}")
    ((_, value),), notes = result_files.saved(str(tmp_path), RunState())
    assert not notes
    assert (value["d"], value["s"], value["1"]) == ("2026-11-20", ["a"], "one")


def test_a_table_is_arranged_as_asked(runs):
    best = results(runs, arrangement=Arrangement(best="score")).table
    assert [row["run"] for row in best.rows] == ["sweep/lr=2"]
    assert best.shown[:2] == ("run", "score")
    low = results(runs, arrangement=Arrangement(best="score", lowest=True, top=5)).table
    assert [row["score"] for row in low.rows] == [0.5, 0.9]
    ordered = results(runs, arrangement=Arrangement(sort="x", descending=True, columns=("x", "run"))).table
    assert tuple(ordered.rows[0].values()) == (4, "going")
    groups = results(runs, arrangement=Arrangement(group_by=("place",), best="score")).table
    assert groups.rows[0]["score.mean"] == pytest.approx(0.7)
    with pytest.raises(UsageError, match="No run here has scor"):
        results(runs, arrangement=Arrangement(best="scor"))


# -- where it can go --------------------------------------------------------------------------------------

URLS = ["sqlite:///{}", "sqlite+pysqlite:///{}"]
cells = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5)


def table(*rows):
    columns = tuple(dict.fromkeys(key for row in rows for key in row))
    return Table(columns, tuple({c: row.get(c) for c in columns} for row in rows), columns)


def content(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return {row["run"]: dict(row) for row in connection.execute("SELECT * FROM results")}


@pytest.mark.parametrize("url", URLS)
def test_a_row_is_replaced_and_columns_are_added(tmp_path, url):
    path = tmp_path / "r.db"
    url = url.format(path)
    database.save(
        url, "results", table({"run": "a", "lr": 1.5, "LR": "x"}, {"run": "b", "lr": None, "LR": "%"})
    )
    database.save(url, "results", table({"run": "b", "lr": 2, 'new "one" %(x)s :y': [1, {"z": math.nan}]}))
    rows = content(path)
    assert rows["a"] == {"run": "a", "lr": 1.5, "LR_2": "x", 'new "one" %(x)s :y': None}
    assert rows["b"] == {"run": "b", "lr": 2, "LR_2": None, 'new "one" %(x)s :y': '[1, {"z": null}]'}
    database.save(url, "results", table({"run": "c", "LR": "again"}))
    assert content(path)["c"]["LR_2"] == "again"


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(st.sampled_from("abc"), cells, cells), unique_by=lambda r: r[0]))
@pytest.mark.parametrize("url", URLS)
def test_saving_twice_is_saving_once(tmp_path_factory, url, rows):
    path = tmp_path_factory.mktemp("db") / "r.db"
    rows = table(*({"run": run, "x": x, "X": y} for run, x, y in rows), {"run": "d"})
    database.save(url.format(path), "results", rows)
    once = content(path)
    database.save(url.format(path), "results", rows)
    assert content(path) == once
    assert set(once) == {row["run"] for row in rows.rows}


@pytest.mark.slow
@pytest.mark.parametrize("url", URLS)
def test_columns_that_a_database_has_no_place_for_are_json_in_its_last_one(tmp_path, url):
    path = tmp_path / "r.db"
    url = url.format(path)
    first = {"run": "a", "_more": "mine", **{f"t.group{i // 100}.k{i}": i for i in range(2500)}}
    assert database.save(url, "results", table(first)) == 2500 + 2 - 1999
    row = content(path)["a"]
    assert len(row) == 2000
    assert json.loads(row.pop("_more")).items() | row.items() == first.items(), "nothing is lost"
    later = {"run": "b", "t.group0.k1": 7, "new": [math.nan], "none": None}
    assert database.save(url, "results", table(later)) == 2
    row = content(path)["b"]
    assert (row["t.group0.k1"], row["t.group0.k2"], json.loads(row["_more"])) == (7, None, {"new": [None]})
    assert database.save(url, "results", table({"run": "b", "t.group0.k1": 8})) == 0
    assert content(path)["b"]["_more"] is None


def test_a_full_table_without_a_column_for_more_is_a_sentence_with_a_way_out(tmp_path):
    url = f"sqlite:///{tmp_path}/r.db"
    assert database.save(url, "results", table({"run": "a", **{f"k{i}": i for i in range(1999)}})) == 0
    with pytest.raises(UsageError, match="no more than 2000 columns") as refused:
        database.save(url, "results", table({"run": "b", "new": 1}))
    assert "Name another table with --table, or choose columns with --columns" in str(refused.value)


def test_a_name_that_is_too_long_for_a_database_is_cut_and_stays_itself():
    long = [f"train.{'x' * 80}.{end}" for end in "ab"]
    layout = database._laid_out(table({"run": "a", **dict.fromkeys(long, 1)}), ["run"], 1600, 63)
    names = [layout.names[column] for column in long]
    assert len(set(names)) == 2
    assert all(len(name) == 63 and name.startswith("train.xxx") for name in names)


@pytest.mark.slow
def test_wide_results_are_saved_from_the_command_line(workspace, cli, tmp_path):
    make_run(workspace, "wide", x=1, score=0.5)
    groups = {f"g{i}": {f"k{j}": j for j in range(100)} for i in range(25)}
    (workspace / "Output" / "wide" / "results.yaml").write_text(json.dumps(groups))
    said = cli("results", "--to", f"sqlite:///{tmp_path}/r.db").stderr
    (row,) = content(tmp_path / "r.db").values()
    more = json.loads(row["_more"])
    assert said.endswith(f"; {len(more)} columns are too many for it, and JSON in its column _more\n")
    assert len(row) == 2000
    assert row["g0.k7"] == more["g24.k7"] == 7


def test_a_database_that_cannot_be_used_is_said_in_a_sentence(tmp_path):
    (tmp_path / "no.db").write_text("this is no database, however long it may be" * 9)
    mine = table({"run": "a", "x": 1})
    with pytest.raises(OrchestrationError, match="cannot be written"):
        database.save(f"sqlite:///{tmp_path}/no.db", "results", mine)
    for url in ("nonsense", "oracledb2://x/y", "sqlite:///"):
        with pytest.raises(UsageError):
            database.save(url, "results", mine)
    with pytest.raises(OrchestrationError, match="refuses"):
        database.save(f"sqlite+pysqlite:///{tmp_path}/no/folder.db", "results", mine)
    with pytest.raises(UsageError, match="no column run"):
        database.save(f"sqlite:///{tmp_path}/a.db", "results", table({"x": 1}))
    with closing(sqlite3.connect(tmp_path / "b.db")) as connection:
        connection.execute("CREATE TABLE results (a)")
    for url in URLS:
        with pytest.raises(UsageError, match="not one of ours"):
            database.save(url.format(tmp_path / "b.db"), "results", mine)


def test_a_text_never_gets_into_a_column_of_numbers(tmp_path):
    url = f"sqlite+pysqlite:///{tmp_path}/a.db"
    database.save(url, "results", table({"run": "a", "x": 1.5}))
    with pytest.raises(UsageError, match="The column x holds no texts"):
        database.save(url, "results", table({"run": "a", "x": "high"}))
    assert content(tmp_path / "a.db")["a"]["x"] == 1.5


def test_parquet_keeps_types(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    from job_orchestration.results.columnar import write_parquet

    rows = [
        {"b": True, "i": 1, "f": 2**60 + 1, "t": "ü", "m": 1, "l": [1], "h": 10**400},
        {"b": None, "i": 2, "f": 0.5, "t": None, "m": "x", "l": {}, "h": 1},
    ]
    write_parquet(str(tmp_path / "r.parquet"), table(*rows))
    back = parquet.read_table(tmp_path / "r.parquet").to_pylist()
    assert back[0] == {
        "b": True,
        "i": 1,
        "f": float(2**60),
        "t": "ü",
        "m": "1",
        "l": "[1]",
        "h": str(10**400),
    }
    assert back[1] == {"b": None, "i": 2, "f": 0.5, "t": None, "m": "x", "l": "{}", "h": "1"}


def test_python_gets_a_data_frame_or_rows(runs, monkeypatch):
    pandas = pytest.importorskip("pandas")
    monkeypatch.setenv("JOB_ORCHESTRATION_WORKSPACE", runs.root)
    frame = Workspace().results("sweep/*", status="completed", filter="score > 0.6")
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame["score"]) == [0.9]
    rows = Workspace(runs.root).rows(status=["completed"])
    assert {row["run"] for row in rows} == {"sweep/lr=1", "sweep/lr=2", "other", "going"}
    with pytest.raises(UsageError, match="column 2"):
        Workspace(runs.root).rows(filter="x$")
    with pytest.raises(UsageError, match="is not one of"):
        Workspace(runs.root).rows(status="fine")


def test_what_is_missing_is_named_and_nothing_costly_is_imported(runs):
    code = """
        import sys
        for name in ("pandas", "pyarrow", "sqlalchemy"):
            sys.modules[name] = None
        from job_orchestration import Workspace
        from job_orchestration.cli.main import main
        from job_orchestration.diagnostics.errors import UsageError
        assert "rich" not in sys.modules and "sqlite3" not in sys.modules
        workspace = Workspace(sys.argv[1])
        assert len(workspace.rows()) == 4
        try:
            workspace.results()
        except UsageError as error:
            print(error)
        for words in (["--parquet", "x"], ["--to", "postgresql://x/y"]):
            assert main(["results", "--workspace", sys.argv[1], *words]) == 2
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), runs.root],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    for extra in ("pandas", "parquet", "database"):
        assert f"job-orchestration[{extra}]" in done.stdout + done.stderr
