"""Real genes, a real network, real terms: does a run find the genes that were kept from it?

A third of a GO term's genes is held out, and a run is given the rest. Its probabilities rank all genes;
the held-out ones should stand above the genes that do not belong to the term. Random gene sets are treated
the same and must not be found. Held-out genes may be of class U or N in the run, whose gene set collection
knows the term; nothing here looks at the class.

The data are not part of the repository: ``GENEPLEXUS_DATA`` names their folder.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("geneplexus", reason="the extra [geneplexus] is not installed")

import numpy as np
import pandas as pd

from tests.geneplexus_bench import TASKS, config_of, problems_of, run_task, warnings_of

TOP = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("GENEPLEXUS_DATA") or TOP.parent / "shared" / "geneplexus_data").absolute()
SETS, SEED = 5, 20261120

pytestmark = pytest.mark.skipif(
    not (DATA / "GSC__Human__GO__STRING.json").is_file(),
    reason=f"no real GenePlexus data in {DATA}; name their folder in GENEPLEXUS_DATA",
)


def auroc(positive, negative):
    """The chance that a positive stands above a negative; ties count half."""
    ranks = pd.Series([*positive, *negative]).rank().to_numpy()[: len(positive)]
    return (ranks.sum() - len(positive) * (len(positive) + 1) / 2) / (len(positive) * len(negative))


def held_out_aurocs(gene_sets, kind, rng, drop, cli, workspace):
    """Hold out a third of each set, run on the rest, and rank the held-out genes among all others."""
    held_out = []
    for number, genes in enumerate(gene_sets):
        shuffled = rng.permutation(sorted(genes)).tolist()
        held_out.append(set(shuffled[: len(genes) // 3]))
        keys = {
            "file_loc": str(DATA),
            "geneset": shuffled[len(genes) // 3 :],
            "gsc_trn": "GO",
            "gsc_res": "GO",
            "figures": [],
        }
        run = {"outputDir": f"{kind}/{number}", "tasks": TASKS, "pathToTasks": None}
        drop(f"{kind}_{number}", {**run, **keys})
    cli("ready", limit=120)
    cli("work", "--until-idle", limit=240)
    scores = []
    for number, (genes, hidden) in enumerate(zip(gene_sets, held_out, strict=True)):
        saved = workspace / "Output" / kind / str(number) / TASKS[-1]["id"]
        table = pd.read_csv(saved / "df_probs.tsv", sep="\t", dtype={"Entrez": str})
        of_set, of_hidden = table["Entrez"].isin(genes), table["Entrez"].isin(hidden)
        assert of_hidden.sum() == len(hidden)
        assert not (table.loc[of_hidden, "Class-Label"] == "P").any()
        scores.append(auroc(table.loc[of_hidden, "Probability"], table.loc[~of_set, "Probability"]))
    return scores


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_held_out_genes_of_go_terms_are_found_and_random_ones_are_not(drop, cli, workspace, show_figure):
    go_terms = json.loads((DATA / "GSC__Human__GO__STRING.json").read_text())
    network = (DATA / "NodeOrder__Human__STRING.txt").read_text().split()
    rng = np.random.default_rng(SEED)
    fitting = [term for term in go_terms["Term_Order"] if 30 <= len(go_terms[term]["Genes"]) <= 120]
    chosen = rng.choice(fitting, SETS, replace=False).tolist()
    of_terms = [set(go_terms[term]["Genes"]) & set(network) for term in chosen]
    of_chance = [set(rng.choice(network, len(genes), replace=False).tolist()) for genes in of_terms]
    found = held_out_aurocs(of_terms, "terms", rng, drop, cli, workspace)
    guessed = held_out_aurocs(of_chance, "random", rng, drop, cli, workspace)
    show_figure("held-out AUROC")
    for term, genes, score in zip(chosen, of_terms, found, strict=True):
        show_figure(f"  {term} {go_terms[term]['Name']} ({len(genes)} genes): {score:.3f}")
    show_figure(f"  mean of terms: {np.mean(found):.3f}")
    show_figure(
        f"  random sets: {', '.join(f'{score:.3f}' for score in guessed)}; mean {np.mean(guessed):.3f}"
    )
    assert np.mean(found) >= 0.75
    assert 0.4 <= np.mean(guessed) <= 0.6


def go_gene_sets(count):
    """Gene sets of a size that is trained on, by the ids of their terms."""
    go_terms = json.loads((DATA / "GSC__Human__GO__STRING.json").read_text())
    network = set((DATA / "NodeOrder__Human__STRING.txt").read_text().split())
    fitting = [
        one for one in go_terms["Term_Order"] if 20 <= len(network & set(go_terms[one]["Genes"])) <= 150
    ]
    chosen = np.random.default_rng(SEED).choice(fitting, count, replace=False).tolist()
    return {one: sorted(network & set(go_terms[one]["Genes"])) for one in chosen}


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_tables_of_runs_that_share_their_data_are_those_of_the_command_line(drop, cli, workspace, tmp_path):
    gene_sets = go_gene_sets(10)
    for number, genes in enumerate(gene_sets.values()):
        keys = {"file_loc": str(DATA), "geneset": genes, "figures": []}
        drop(f"set{number}", {"outputDir": f"set{number}", "tasks": TASKS, "pathToTasks": None, **keys})
    cli("ready", limit=240)
    cli("work", "--until-idle", limit=600)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    for number, genes in enumerate(gene_sets.values()):
        given, made = tmp_path / f"set{number}.txt", tmp_path / f"made{number}"
        given.write_text("\n".join(genes))
        command = [str(Path(sys.executable).parent / "geneplexus"), "-i", given, "-fl", DATA, "-od", made]
        subprocess.run(command, env=environment, check=True, capture_output=True, timeout=240)
        ours = workspace / "Output" / f"set{number}" / TASKS[-1]["id"]
        theirs = made / "All-Genes" / "Human-Combined"
        for table in ("df_probs", "df_sim", "df_edge", "df_edge_sym"):
            name = f"{table}.tsv"
            assert (ours / name).read_bytes() == (theirs / name).read_bytes(), f"{number} {table}"
    events = [
        json.loads(line)
        for path in (workspace / "Output").glob("set*/journal/*.jsonl")
        for line in path.read_text().splitlines()
    ]
    preloaded = [event["task"] for event in events if "preload_s" in event]
    assert sorted(preloaded) == ["load", "run", "save"]  # by one of the ten runs


@pytest.mark.slow
@pytest.mark.parametrize("form", ["comma", "tab", "without titles", "gmt", "entrez"])
def test_a_gene_set_of_a_term_is_read_from_every_form_whatever_numbers_stand_beside_it(form, tmp_path):
    go_terms = json.loads((DATA / "GSC__Human__GO__STRING.json").read_text())
    symbols = json.loads((DATA / "IDconversion__Human__Entrez-to-Symbol.json").read_text())
    term = next(go_terms[one] for one in go_terms["Term_Order"] if 40 <= len(go_terms[one]["Genes"]) <= 90)
    others = sorted(set(symbols) - set(term["Genes"]), key=int)  # genes that numbers could be taken for
    rows = [(symbols[one][0], others[place], one) for place, one in enumerate(term["Genes"])]
    lines = {
        "comma": ["gene,count", *(f"{symbol},{count}" for symbol, count, _ in rows)],
        "tab": ["\tlog2FoldChange\tsymbol", *(f"{count}\t0.5\t{symbol}" for symbol, count, _ in rows)],
        "without titles": [f"{count} {symbol}" for symbol, count, _ in rows],
        "gmt": ["\t".join(["TERM", "http://example.org", *(symbol for symbol, _, _ in rows)])],
        "entrez": ["NCBI gene id;count", *(f"{entrez};{count}" for _, count, entrez in rows)],
    }[form]
    path = tmp_path / "genes.txt"
    path.write_text("\n".join(lines))
    config = config_of(
        tmp_path / "out", file_loc=str(DATA), genesetFile=str(path), gsc_trn="GO", gsc_res="GO"
    )
    assert problems_of(config) == []
    run_task(config, "load")
    found = json.loads((tmp_path / "out" / "load" / "geneset.json").read_text())
    assert set(found["entrez"]) == set(term["Genes"])


@pytest.mark.slow
def test_real_symbols_that_became_dates_and_symbols_of_a_mouse_are_noticed(tmp_path):
    symbols = json.loads((DATA / "IDconversion__Human__Entrez-to-Symbol.json").read_text())
    network = (DATA / "NodeOrder__Human__STRING.txt").read_text().split()
    human = [symbols[one][0] for one in network[:40]]
    keys = {"file_loc": str(DATA), "gsc_trn": "GO", "gsc_res": "GO"}
    warnings = warnings_of(config_of(tmp_path / "a", **keys, geneset=[*human, "Mar-02", "9-Sep"]))
    assert (
        "Mar-02 was MARCH2 (now MARCHF2) or MARC2 (now MTARC2), 9-Sep was SEPT9 (now SEPTIN9)" in warnings[0]
    )
    mouse = [one.capitalize() for one in human if one.isalnum()]
    warnings = warnings_of(config_of(tmp_path / "b", **keys, geneset=mouse))
    assert "spelled as those of Mouse or rat" in warnings[0]
    assert warnings_of(config_of(tmp_path / "c", **keys, geneset=human)) == []
