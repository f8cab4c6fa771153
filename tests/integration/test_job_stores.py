"""The stores of jobs: one suite for each kind of store, and what only a workspace or a disk can show."""

from __future__ import annotations

import contextlib
import io
import json
import os
import threading
import uuid
import zipfile

import pytest

from job_orchestration import UsageError, WorkspaceError
from job_orchestration.jobs import FsspecStore, JobExistsError, JobNotFoundError, JobStatus, ResultsFileStore
from tests.integration.write_faults import Killed, failing, operations_of


@pytest.fixture(params=["workspace", "memory", "disk"])
def store(request, tmp_path):
    """A store of each kind, empty."""
    if request.param == "workspace":
        return ResultsFileStore(tmp_path / "jobs", create_if_missing=True)
    pytest.importorskip("fsspec")
    where = f"memory://{uuid.uuid4().hex}/jobs" if request.param == "memory" else f"file://{tmp_path}/jobs"
    return FsspecStore(where)


# -- every store ------------------------------------------------------------------------------------------


def test_a_job_is_created_once_and_found_by_any_spelling_of_its_name(store):
    assert store.list() == []
    assert not store.exists("My Job")
    assert store.create("My Job") is True
    assert store.exists("my-job")
    assert store.create("my_job", exist_ok=True) is False
    with pytest.raises(JobExistsError, match="my-job exists already"):
        store.create("MY JOB")
    assert store.list() == ["my-job"]
    assert store.path_friendly_job_name("My Job") == "my-job"


def test_a_job_is_deleted_only_if_it_is_confirmed(store):
    store.create("a")
    store.save_input_file("a", ["CCNO"])
    store.save_txt_results("a", "notes", "text")
    with pytest.raises(UsageError, match="Nothing was deleted"):
        store.delete("a")
    assert store.exists("a")
    assert store.delete("a", confirmation=True) is True
    assert not store.exists("a")
    assert store.list() == []
    with pytest.raises(JobNotFoundError):
        store.delete("a", confirmation=True)
    assert store.create("a") is True
    assert store.file_names("a") == []


def test_the_names_of_an_input_stay_as_they_are(store):
    store.create("a")
    assert not store.has_input_file("a")
    assert store.save_input_file("A", ["CCNO", "5'-NT", " CENPF ", ""]) == "a_geneset.txt"
    assert store.has_input_file("a")
    assert store.read_input_file("a") == ["CCNO", "5'-NT", "CENPF"]
    store.save_input_file("a", 'one\n\n"two" \\\nthree\n', "negatives")
    assert store.read_input_file("a", "negatives") == ["one", '"two" \\', "three"]
    assert store.input_names("a") == ["geneset", "negatives"]


@pytest.mark.parametrize("empty", [[], "", " \n \n", [" "]])
def test_an_empty_input_is_refused(store, empty):
    store.create("a")
    with pytest.raises(UsageError, match="is empty"):
        store.save_input_file("a", empty)
    with pytest.raises(JobNotFoundError):
        store.read_input_file("a")


def test_values_come_back_as_they_were_saved(store):
    pd = pytest.importorskip("pandas")
    store.create("a")
    config = {"net_type": "BioGRID", "GSC": "GO", "max_num_genes": 50, "jobname": "A"}
    assert store.save_json_results("a", "job_config", config) == "a_job_config.json"
    assert store.read_config("a") == config
    assert store.read_json_results("a", "job_config") == config
    assert store.save_txt_results("a", "results", "two\nlines\n") == "a_results.txt"
    assert store.read_txt_results("a", "results") == "two\nlines\n"
    store.save_yaml_results("a", "settings", {"lr": 0.1, "layers": [1, 2]})
    assert store.read_yaml_results("a", "settings") == {"lr": 0.1, "layers": [1, 2]}
    table = pd.DataFrame({"Entrez": [1, 2], "Probability": [0.5, 0.25], "Symbol": ["A", "B"]})
    assert store.save_df_results("a", "df_probs", table) == "a_df_probs.tsv"
    assert store.read_bytes("a", "a_df_probs.tsv").splitlines()[0] == b"Entrez\tProbability\tSymbol"
    pd.testing.assert_frame_equal(store.read_df_results("a", "df_probs"), table)
    graph = {"nodes": [{"id": 1, "Class": "P"}], "links": []}
    store.save_graph_results("a", graph)
    assert store.read_graph_results("a") == graph
    store.save("a", "weights.bin", b"\x00\x01")
    assert store.load("a", "weights.bin") == b"\x00\x01"
    with pytest.warns(UserWarning, match="executes what is in it"):
        store.save_pickle_results("a", "model", {"w": 1})
    with pytest.raises(UsageError, match="pickle"):
        store.read_pickle_results("a", "model")
    assert store.read_pickle_results("a", "model", allow_pickle=True) == {"w": 1}
    with pytest.raises(UsageError, match="cannot be written as JSON"):
        store.save_json_results("a", "odd", {"x": object()})


@pytest.mark.slow
def test_a_figure_is_saved_in_several_formats(store):
    figure = pytest.importorskip("matplotlib.figure").Figure()
    store.create("a")
    assert store.save_figure("a", "network", figure, ("png", "svg")) == ["a_network.png", "a_network.svg"]
    assert store.read_bytes("a", "a_network.png").startswith(b"\x89PNG")


def test_all_outputs_of_a_job_are_saved_and_read_under_both_their_names(store):
    pd = pytest.importorskip("pandas")
    store.create("a")
    store.save_json_results("a", "job_config", {"net_type": "STRING", "features": "x", "GSC": "GO"})
    store.save_input_file("a", ["g1", "g2"])
    table = pd.DataFrame({"Gene": [1]})
    names = ("df_probs", "df_sim_go", "df_sim_dis", "df_convert_out", "df_edge")
    made = store.save_output(
        "a", {**dict.fromkeys(names, table), "graph": {"nodes": [], "links": []}, "results": "done"}
    )
    assert made == [
        *(
            "a_df_probs.tsv",
            "a_df_GO.tsv",
            "a_df_dis.tsv",
            "a_df_convert_out_subset.tsv",
            "a_df_edgelist.tsv",
        ),
        *("a_graph.json", "a_results.txt"),
    ]
    found = store.read("a")
    assert found["df_GO"].equals(table)
    assert found["graph"] == {"nodes": [], "links": []}
    info = store.read_job_info("a")
    assert info["df_edgelist_file"] == "a_df_edgelist.tsv"
    assert (info["job_name"], info["net_type"], info["GSC"], info["input_count"]) == ("a", "STRING", "GO", 2)
    assert (info["status"], info["has_results"], info["submit_time"]) == ("Created", False, "")


def test_an_unfinished_job_is_read_as_far_as_it_is_there(store):
    store.create("a")
    found = store.read("a")
    assert found["df_probs"] is None
    assert found["graph"] is None
    assert found["status"] == "Created"
    assert store.has_results("a") is False
    with pytest.raises(JobNotFoundError):
        store.has_results("b")
    with pytest.raises(JobNotFoundError):
        store.job_submit_time("b")
    assert store.status("b").status_code == 404
    assert store.read_status("b") == "Not Found"
    assert list(store.job_info_list()) == ["a"]
    assert list(store.job_info_list(["A", "b"])) == ["a"]


def test_whatever_cannot_be_read_or_written_is_raised(store):
    with pytest.raises(JobNotFoundError):
        store.save_txt_results("a", "x", "text")
    store.create("a")
    for read in (store.read_txt_results, store.read_json_results, store.read_df_results):
        with pytest.raises(JobNotFoundError):
            read("a", "absent")
    for name in ("../evil", "a/b", ".."):
        with pytest.raises(UsageError):
            store.save_txt_results("a", name, "text")
        with pytest.raises(UsageError):
            store.read_bytes("a", name)
    with pytest.raises(JobNotFoundError):
        store.results_file_location("a", "absent.txt")


def test_two_jobs_never_meet(store):
    store.create("../a")
    store.create("b")
    store.save_txt_results("../a", "x", "of a")
    store.save_txt_results("b", "x", "of b")
    assert store.read_txt_results("a", "x") == "of a"
    assert store.read_txt_results("b", "x") == "of b"
    assert store.list() == ["a", "b"]


def test_a_zip_of_a_job_has_all_its_files(store):
    store.create("a")
    store.save_input_file("a", ["g"])
    store.save_txt_results("a", "x", "text")
    with zipfile.ZipFile(io.BytesIO(store.as_zip("a"))) as archive:
        assert sorted(archive.namelist()) == ["a/a_geneset.txt", "a/a_x.txt"]
        assert archive.read("a/a_x.txt") == b"text"


def test_of_many_creators_at_once_one_succeeds(store):
    made, start = [], threading.Barrier(20)

    def create():
        start.wait()
        made.append(store.create("same", exist_ok=True))

    threads = [threading.Thread(target=create) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [False] * 19 + [True]


# -- a workspace ------------------------------------------------------------------------------------------


def test_a_store_needs_a_workspace_and_makes_one_only_if_it_is_to(tmp_path, monkeypatch):
    with pytest.raises(WorkspaceError):
        ResultsFileStore(tmp_path / "none")
    assert not (tmp_path / "none").exists()
    made = ResultsFileStore(tmp_path / "none", create_if_missing=True)
    monkeypatch.setenv("JOBS_PATH", made.job_path)
    assert ResultsFileStore().job_path == made.job_path


@pytest.mark.parametrize("how", ["before", "after", "ENOSPC"])
def test_a_write_that_is_cut_anywhere_leaves_the_old_file_or_the_new_one(tmp_path, quick_disk, how):
    store = ResultsFileStore(tmp_path / "jobs", create_if_missing=True)
    store.create("a")
    store.save_txt_results("a", "x", "old")
    number = len(operations_of(lambda: store.save_txt_results("a", "x", "old")))
    for at in range(1, number + 1):
        store.save_txt_results("a", "x", "old")
        try:
            with failing(at, how):
                store.save_txt_results("a", "x", "new")
            cut = False
        except (Killed, OSError):
            cut = True
        assert cut, f"cut {how} operation {at}: an error of a write is raised"
        assert store.read_txt_results("a", "x") in {"old", "new"}
        assert store.file_names("a") == ["a_x.txt"]


def test_a_link_in_the_place_of_a_file_is_not_followed(tmp_path):
    store = ResultsFileStore(tmp_path / "jobs", create_if_missing=True)
    store.create("a")
    store.save_txt_results("a", "x", "text")
    path = store.results_file_location("a", "a_x.txt")
    os.unlink(path)
    (tmp_path / "secret").write_text("secret")
    os.symlink(tmp_path / "secret", path)
    with pytest.raises(OSError, match="link"):
        store.read_txt_results("a", "x")


# -- a storage elsewhere ----------------------------------------------------------------------------------


def test_a_store_elsewhere_keeps_the_status_that_was_last_reported(tmp_path):
    pytest.importorskip("fsspec")
    store = FsspecStore(f"file://{tmp_path}/jobs")
    store.create("a")
    assert store.status("a").status_code == 201
    store.report_status(JobStatus("a", "completed", 200, "It completed.", run_time_s=1.5))
    assert store.status("a") == JobStatus("a", "completed", 200, "It completed.", run_time_s=1.5)
    assert store.has_results("a")
    assert json.loads((tmp_path / "jobs/a/a_jobstatus.json").read_text())["status_text"] == "Completed"


def test_readers_of_a_store_on_a_disk_see_a_whole_file_at_any_time(tmp_path):
    pytest.importorskip("fsspec")
    store = FsspecStore(f"file://{tmp_path}/jobs")
    store.create("a")
    texts = {str(number) * 200_000 for number in range(2)}
    store.save_txt_results("a", "x", min(texts))
    over = threading.Event()

    def write():
        with contextlib.suppress(Exception):
            for number in range(60):
                store.save_txt_results("a", "x", str(number % 2) * 200_000)
        over.set()

    thread = threading.Thread(target=write)
    thread.start()
    found = set()
    while not over.is_set():
        found.add(store.read_txt_results("a", "x"))
    thread.join()
    assert found <= texts
