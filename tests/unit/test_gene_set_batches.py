"""A config with `genesets` as the sweep that it stands for, and trials that a sweep leaves out."""

from __future__ import annotations

import pytest

from job_orchestration.config import yaml_reader
from job_orchestration.search import sweep_expansion
from job_orchestration.submission import gene_set_batches, left_out_trials, submitted_configs
from job_orchestration.submission.dropped_files import Drop
from job_orchestration.submission.sweep_candidates import candidates_of

TASKS = 'tasks: [{id: load, method: "job_orchestration.geneplexus:LoadGeneset"}]\n'


def expanded(text):
    root, problems = yaml_reader.read(f"{text}{TASKS}".encode(), "b.yaml")
    assert not problems
    return gene_set_batches.expanded(root, "b.yaml")


def trials_of(text):
    root, problems = expanded(text)
    assert not problems
    sweep, problems = sweep_expansion.parse(root, sweep_expansion.block_of(root), "b.yaml")
    assert not problems
    found = [{k: yaml_reader.plain(n) for k, n in trial.items()} for trial in sweep.combinations()]
    return yaml_reader.plain(root), found


@pytest.fixture
def gmt(tmp_path):
    path = tmp_path / "sets.gmt"
    path.write_text("# a comment\nFIRST\tna\tA\tB\nSECOND\tna\tC\n\n")
    return path


def test_every_set_of_a_gmt_file_meets_every_network_and_collection(gmt):
    text = f"genesets: {gmt}\nnet_type: [STRING, IMP]\ngsc: [GO, Combined]\nsp_res: [Human, Mouse]\n"
    values, trials = trials_of(text)
    assert len(trials) == 8
    assert trials[0] == {"genesetName": "FIRST", "net_type": "STRING", "gsc": "GO"}
    assert {trial["genesetName"] for trial in trials} == {"FIRST", "SECOND"}
    assert values["genesetFile"] == values["genesetsFrom"] == str(gmt)
    assert not gene_set_batches.is_batch(values)  # the config of a trial is one run
    assert values["sp_res"] == ["Human", "Mouse"]  # several results of one run
    assert "net_type" not in values


def test_a_folder_of_lists_is_a_run_each_and_a_sweep_is_multiplied_with_it(tmp_path):
    for name in ("b.txt", "a.csv", ".hidden"):
        (tmp_path / name).write_text("BBS1\n")
    (tmp_path / "folder").mkdir()
    sweep = "sweep: {grid: {gsc_res: [GO, Monarch]}, exclude: \"gsc_res == 'GO'\"}\n"
    _, trials = trials_of(f"genesets: {tmp_path}\n{sweep}")
    assert trials == [
        {"genesetFile": str(tmp_path / name), "gsc_res": "Monarch"} for name in ("a.csv", "b.txt")
    ]


def test_what_cannot_be_a_batch_is_a_problem_at_its_line(gmt, tmp_path):
    (tmp_path / "twice.gmt").write_text("A\tna\tX\nA\tna\tY\n")
    (tmp_path / "list.txt").write_text("BBS1\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "latin.gmt").write_bytes(b"A\tna\t\xe4\n")
    for text, what in [
        ("genesets: sets.gmt\n", "is no absolute path"),
        ("genesets: [a, b]\n", "is no absolute path"),
        (f"genesets: {tmp_path}/none.gmt\n", "cannot be read: No such file"),
        (f"genesets: {tmp_path}/twice.gmt\n", "has several sets called A"),
        (f"genesets: {tmp_path}/list.txt\n", "is no GMT file"),
        (f"genesets: {tmp_path}/empty\n", "has no files"),
        (f"genesets: {tmp_path}/latin.gmt\n", "is not UTF-8"),
        (f"genesets: {gmt}\ngeneset: BBS1\n", "geneset is one gene set"),
        (
            f"genesets: {gmt}\nnet_type: [IMP]\nsweep: {{grid: {{net_type: [IMP]}}}}\n",
            "net_type is in the grid",
        ),
        (f"genesets: {gmt}\nsweep: {{search: {{}}}}\n", "a search has one gene set"),
    ]:
        _, (problem,) = expanded(text)
        assert what in problem.what
        assert (problem.key, problem.line) == ("genesets", 1)


def test_a_config_without_the_task_keeps_its_key(gmt):
    root, _ = yaml_reader.read(f"genesets: {gmt}\ntasks: [{{id: a, method: A}}]\n".encode(), "b.yaml")
    assert gene_set_batches.expanded(root, "b.yaml") == (root, [])
    assert not gene_set_batches.is_batch(yaml_reader.plain(root))


def test_a_program_that_submits_a_batch_is_given_its_runs(gmt):
    assert submitted_configs.is_sweep(f"genesets: {gmt}\n{TASKS}".encode())


def family(gmt):
    text = f"outputDir: b\ngenesets: {gmt}\nnet_type: [STRING, IMP, BioGRID]\n{TASKS}"
    return candidates_of(Drop("b.yaml", text.encode(), (0, 0, 0, 0)), {})


def test_trials_without_data_are_left_out_with_a_warning_for_each_reason(gmt):
    candidates = family(gmt)
    for candidate in candidates:
        if candidate.trial.parameters["net_type"] != "STRING":
            candidate.left_out = f"no {candidate.trial.parameters['net_type']} here"
    left_out_trials.take_out(candidates)
    assert [c.trial.parameters["net_type"] for c in candidates] == ["STRING", "STRING"]
    assert all(candidate.config is not None for candidate in candidates)
    said = [problem for problem in candidates[0].problems if problem.key == "sweep"]
    assert [problem.what for problem in said] == [
        "left out, genesetName=FIRST,net_type=IMP and 1 more trial: no IMP here",
        "left out, genesetName=FIRST,net_type=BioGRID and 1 more trial: no BioGRID here",
        "4 of 6 trials are left out, and the others are queued",
    ]
    assert {problem.line for problem in said} == {2}
    assert len(candidates[0].beside) == 4


def test_a_sweep_of_which_nothing_is_left_is_refused_with_the_reason(gmt):
    candidates = family(gmt)
    for candidate in candidates:
        candidate.left_out = "there are no data"
    left_out_trials.take_out(candidates)
    assert len(candidates) == 6
    assert all(candidate.config is None for candidate in candidates)
