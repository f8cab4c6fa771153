"""What a config may ask of GenePlexus."""

from __future__ import annotations

import pytest

pytest.importorskip("geneplexus", reason="the extra [geneplexus] is not installed")

from job_orchestration.geneplexus import settings
from job_orchestration.geneplexus.data import needed_files
from job_orchestration.geneplexus.settings import read_choice, read_training

LOGREG = {"defaults": {"C": 1.0, "solver": "lbfgs"}, "legal": ["C", "solver", "random_state", "max_iter"]}


def test_nothing_said_means_geneplexus_own_defaults():
    choice, problems = read_choice({})
    training, more = read_training({}, LOGREG)
    assert not problems + more
    assert choice == settings.Choice()
    assert training == settings.Training(LOGREG["defaults"])


def test_the_legal_names_are_those_of_the_installed_geneplexus():
    from geneplexus import config

    assert set(settings.NETWORKS) == set(config.ALL_NETWORKS)
    assert set(settings.FEATURES) == set(config.ALL_FEATURES)
    assert set(settings.COLLECTIONS) == set(config.ALL_GSCS)
    assert set(settings.SPECIES) == set(config.ALL_SPECIES)


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"net_type": "string"}, "Did you mean STRING?"),
        ({"net_type": "STRING-EXP"}, "no longer has it; STRING is the nearest"),
        ({"net_type": "GIANT-TN"}, "no longer has it; IMP is the nearest"),
        ({"features": "Embedding"}, "SixSpeciesN2V is the nearest"),
        ({"GSC": "DisGeNet"}, "Mondo is the nearest"),
        ({"sp_trn": "Dog"}, "Choose one of Human, Mouse, Fly, Worm, Zebrafish, Yeast"),
        ({"sp_res": ["Human", "Rat"]}, "sp_res is 'Rat'"),
        ({"sp_res": None}, "sp_res is None"),
        ({"net_type": {"a": 1}}, "net_type is {'a': 1}"),
        ({"sp_trn": "Fly", "gsc_trn": "Monarch"}, "no Monarch gene sets for Fly"),
        ({"sp_trn": "Mouse", "gsc_trn": "Mondo"}, "Mondo gene sets for Human only"),
        ({"sp_res": "Worm", "gsc_res": "Mondo"}, "Mondo gene sets for Human only"),
        ({"sp_res": "Zebrafish", "net_type": "BioGRID"}, "no BioGRID network for Zebrafish"),
        ({"sp_res": ["Human", "Mouse"], "gsc_res": ["GO"]}, "one collection for each species"),
        ({"sp_res": []}, "one collection for each species"),
        ({"sp_trn": "../Human"}, "sp_trn is '../Human'"),
    ],
)
def test_a_choice_that_geneplexus_does_not_have_is_refused(config, sentence):
    assert any(sentence in problem for problem in read_choice(config)[1])


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"num_nodes": "fifty"}, "num_nodes is 'fifty'. Give a whole number, 1 or more."),
        ({"num_nodes": True}, "num_nodes is True"),
        ({"min_num_pos": 0}, "min_num_pos is 0"),
        ({"num_folds": 1}, "num_folds is 1. Give a whole number, 2 or more."),
        ({"random_state": -1}, "random_state is -1"),
        ({"random_state": "zero"}, "random_state is 'zero'"),
        ({"cross_validate": "yes"}, "cross_validate is 'yes'. Write true or false."),
        ({"null_val": "none"}, "null_val is 'none'"),
        ({"logreg_kwargs": {"c": 1}}, "Did you mean C?"),
        ({"logreg_kwargs": [1]}, "logreg_kwargs is [1]"),
        ({"auto_download": True}, "Runs never download"),
        ({"log_to_file": True}, "log.log"),
        ({"clust_method": ["louvain"]}, "one model on all genes"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(config, sentence):
    problems = read_training(config, LOGREG)[1]
    assert len(problems) == 1
    assert sentence in problems[0]


def test_all_problems_are_reported_at_once():
    _, problems = read_choice({"net_type": "x", "features": "y", "sp_trn": "z", "gsc_trn": "w"})
    assert len(problems) == 4


def test_names_of_earlier_services_mean_the_same():
    choice, problems = read_choice({"GSC": "GO"})
    assert not problems
    assert (choice.gsc_trn, choice.results) == ("GO", (("Human", "GO"),))
    assert read_training({"max_num_genes": 9}, LOGREG)[0].num_nodes == 9
    entry = {"id": "train", "method": "RunGenePlexus", "max_num_genes": 9}
    of_all = {"num_nodes": 50, "tasks": [{"id": "load", "num_nodes": 7}, entry]}
    assert read_training({**of_all, **entry}, LOGREG)[0].num_nodes == 9, "a task's own key wins"


def test_all_species_means_those_that_the_network_has_and_leaves_the_list_alone():
    choice, problems = read_choice({"sp_res": "All", "net_type": "BioGRID"})
    assert not problems
    assert [species for species, _ in choice.results] == ["Human", "Mouse", "Fly", "Worm", "Yeast"]
    assert len(settings.SPECIES) == 6


def test_a_list_of_the_config_is_not_changed():
    config = {"sp_res": ["Human", "Human"], "gsc_res": ["GO", "GO"]}
    choice, _ = read_choice(config)
    choice.as_json()["sp_res"].pop()
    assert choice.results == (("Human", "GO"),)
    assert config == {"sp_res": ["Human", "Human"], "gsc_res": ["GO", "GO"]}


def test_a_fly_reads_go_for_combined():
    choice, problems = read_choice({"sp_trn": "Fly", "sp_res": ["Fly", "Fly"], "gsc_res": ["Combined", "GO"]})
    assert not problems
    assert choice.results == (("Fly", "Combined"),)
    files = needed_files(choice)
    assert "GSC__Fly__GO__STRING.json" in files
    assert not [name for name in files if "Combined" in name]


def test_eleven_files_are_needed_for_human_alone_and_orthologs_for_another_species():
    assert len(needed_files(settings.Choice())) == 11
    files = needed_files(settings.Choice(results=(("Mouse", "GO"),)))
    assert {"BioMart__Human__Mouse.json", "Data__Mouse__SixSpeciesN2V__STRING.npy"} <= set(files)


def test_a_solver_that_draws_random_numbers_gets_the_seed():
    training, _ = read_training({"logreg_kwargs": {"solver": "saga"}, "random_state": 5}, LOGREG)
    assert training.logreg_kwargs["random_state"] == 5
    assert "random_state" not in LOGREG["defaults"]


def test_more_folds_than_positives_are_refused():
    training, _ = read_training({"num_folds": 20}, LOGREG)
    assert "cannot be split" in training.too_few(16)[0]
    assert "min_num_pos is 15" in training.too_few(14)[0]
    assert training.too_few(20) == []
