"""Batches of gene sets with real GenePlexus: what is queued, what is left out, and the summary of a batch."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pytest

pytest.importorskip("geneplexus", reason="the extra [geneplexus] is not installed")

from job_orchestration import ConfigRefusedError, Workspace
from job_orchestration.cli.main import main
from tests.geneplexus_bench import TASKS

TOP = Path(__file__).resolve().parents[2]
REAL = Path(os.environ.get("GENEPLEXUS_DATA") or TOP.parent / "shared" / "geneplexus_data").absolute()


def table_in(path):
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def genes_of(data, name):
    lines = (data / "genesets" / f"{name}.txt").read_text().splitlines()
    return [line for line in lines if not line.startswith("#")]


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason=f"no real GenePlexus data in {REAL}")
def test_a_batch_of_138_real_gene_sets_leaves_out_what_the_data_do_not_have(root, tmp_path):
    known = json.loads((REAL / "GSC__Human__Combined__STRING.json").read_text())
    network = set((REAL / "NodeOrder__Human__STRING.txt").read_text().split())
    chosen = known["Term_Order"][:138]
    small = [term for term in chosen if len(network & set(known[term]["Genes"])) < 15]
    assert 0 < len(small) < 30
    lines = ["\t".join([term, known[term]["Name"], *known[term]["Genes"]]) for term in chosen]
    (tmp_path / "real.gmt").write_text("\n".join(lines))
    config = {
        "file_loc": str(REAL),
        "genesets": str(tmp_path / "real.gmt"),
        "net_type": ["STRING", "BioGRID"],
        "outputDir": "go",
        "tasks": TASKS,
        "figures": [],
    }
    workspace = Workspace(root)
    runs = workspace.submit_all([config])
    assert len(runs) == 138 - len(small)
    parameters = [run.parameters for run in runs]
    assert {one["net_type"] for one in parameters} == {"STRING"}
    assert {one["genesetName"] for one in parameters} == set(chosen) - set(small)
    left_out = table_in(root / "Output" / "go" / "summary" / "left_out.tsv")
    assert len(left_out) == 138 + len(small)
    reasons = [row["reason"] for row in left_out]
    assert sum("NodeOrder__Human__BioGRID.txt" in reason for reason in reasons) == 138
    assert sum("and min_num_pos is 15" in reason for reason in reasons) == len(small)
    with pytest.raises(ConfigRefusedError, match=r"does not have\. Did you mean BioGRID"):
        workspace.submit_all([{**config, "outputDir": "typo", "net_type": ["STRING", "BioGRDI"]}])
    with pytest.raises(ConfigRefusedError, match="does not exist"):
        workspace.submit_all([{**config, "outputDir": "nowhere", "file_loc": str(tmp_path / "none")}])


@pytest.mark.slow
def test_a_batch_is_summarized_when_its_runs_end_and_again_by_a_command(data, root, tmp_path, capsys):
    lists = {name: genes_of(data, name) for name in ("alpha", "beta")}
    lists["alpha2"] = lists["alpha"][:-1]
    lists["spoilt"] = lists["beta"]
    lines = {name: "\t".join([name, "na", *genes]) for name, genes in lists.items()}
    gmt = tmp_path / "sets.gmt"
    gmt.write_text("\n".join([*lines.values(), "tiny\tna\tSYN0001"]))
    config = {
        "file_loc": str(data),
        "genesets": str(gmt),
        "gsc": ["GO", "Combined"],
        "figures": [],
        "outputDir": "batch",
        "tasks": TASKS,
    }
    workspace = Workspace(root)
    runs = workspace.submit_all([config])
    assert len(runs) == 8
    gmt.write_text("\n".join(line for name, line in lines.items() if name != "spoilt"))
    assert not workspace.work(workers=2)

    folder = root / "Output" / "batch" / "summary"
    rows = table_in(folder / "summary.tsv")
    assert len(rows) == 8
    status = {(row["gene_set"], row["gsc"]): row["status"] for row in rows}
    assert {pair[0] for pair, place in status.items() if place == "failed"} == {"spoilt"}
    (alpha,) = (row for row in rows if (row["gene_set"], row["gsc"]) == ("alpha", "GO"))
    headline = workspace.run(alpha["run"]).load("results.yaml", allow_pickle=False)
    assert int(alpha["positives"]) == headline["positives"]
    assert float(alpha["cv_median"]) == headline["cv_median"]
    assert alpha["best_new_genes"].split("; ") == headline["top_novel_genes"]
    said = json.loads((folder / "summary.json").read_text())
    left_out = [one["trial"] for one in said["left_out"]]
    assert left_out == ["genesetName=tiny,gsc=GO", "genesetName=tiny,gsc=Combined"]
    assert {one["gene_set"] for one in said["runs"] if one["error"]} == {"spoilt"}
    likeness = {
        (r["gene_set"], r["other"]): float(r["given_jaccard"]) for r in table_in(folder / "similarity.tsv")
    }
    assert likeness["alpha", "alpha2"] > 0.9
    assert likeness["alpha", "beta"] < 0.3
    for choice in ("GO", "Combined"):
        assert (folder / f"similarity_{choice}.png").read_bytes().startswith(b"\x89PNG")
        assert "alpha2" in (folder / f"similarity_{choice}.svg").read_text()

    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for path in folder.glob("s*"):
        path.unlink()
    assert main(["geneplexus", "summary", "Output/batch/"]) == 0
    assert "8 runs, 6 completed, 2 left out" in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert main(["geneplexus", "summary", "batches"]) == 2


# -- checking lists -----------------------------------------------------------------------------------------


def test_a_gene_list_is_checked_before_anything_is_queued(data, tmp_path, capsys, monkeypatch):
    genes = genes_of(data, "alpha")
    (tmp_path / "good.txt").write_text("\n".join([*genes, "NOSUCH"]))
    sets = {"few": genes[:5], "all": genes}
    (tmp_path / "sets.gmt").write_text("\n".join("\t".join([k, "na", *v]) for k, v in sets.items()))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("JOB_ORCHESTRATION_WORKSPACE", raising=False)
    monkeypatch.delenv("DATA_PATH", raising=False)
    words = ["geneplexus", "check", "--data", str(data)]
    assert main([*words, "good.txt"]) == 0
    said = capsys.readouterr().out
    assert f"{len(genes)} mapped, 0 ambiguous, 1 missing" in said
    assert "missing: NOSUCH" in said
    assert f"STRING: {len(genes)} genes" in said
    assert main([*words, "sets.gmt", "none.txt", "--json"]) == 3
    few, every, none = json.loads(capsys.readouterr().out)
    assert (few["gene_set"], few["is_fine"], few["networks"]["STRING"]["positives"]) == ("few", False, 5)
    assert (every["gene_set"], every["is_fine"], every["mapped"]) == ("all", True, len(genes))
    assert "is not a file" in none["problem"]
    assert main([*words, "good.txt", "--network", "IMP"]) == 2
    assert main(["geneplexus", "check", "good.txt"]) == 2
