"""A rerun of a GenePlexus run on real data verifies gene by gene, and another number of folds does not.

The data are not part of the repository: ``GENEPLEXUS_DATA`` names their folder.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

pytest.importorskip("geneplexus", reason="the extra [geneplexus] is not installed")

from tests.geneplexus_bench import TASKS

TOP = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("GENEPLEXUS_DATA") or TOP.parent / "shared" / "geneplexus_data").absolute()
TABLE = "save/df_probs.tsv"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        not (DATA / "GSC__Human__GO__STRING.json").is_file(),
        reason=f"no real GenePlexus data in {DATA}; name their folder in GENEPLEXUS_DATA",
    ),
]


def test_a_rerun_is_equal_gene_by_gene_and_other_folds_are_named_by_file_column_and_gene(
    drop, cli, workspace
):
    go_terms = json.loads((DATA / "GSC__Human__GO__STRING.json").read_text())
    genes = next(
        go_terms[t]["Genes"] for t in go_terms["Term_Order"] if 40 <= len(go_terms[t]["Genes"]) <= 60
    )
    keys = {"file_loc": str(DATA), "geneset": genes, "gsc_trn": "GO", "gsc_res": "GO", "pathToTasks": None}
    drop("bbs", {"outputDir": "bbs", "tasks": TASKS, **keys})
    cli("ready", limit=120)
    cli("work", "--until-idle", limit=240)
    said = cli("rerun", "bbs", "--verify", "--here", "--json", limit=240)
    (found,) = json.loads(said.stdout)["verified"]
    different = [c for c in found["compared"] if c["verdict"] == "different"]
    assert found["verdict"] in {"identical", "equal"}, different
    assert TABLE in {c["name"] for c in found["compared"]}

    table = workspace / "Output" / "bbs-rerun" / TABLE
    lines = table.read_text().splitlines()
    columns = lines[0].split("\t")
    at = columns.index("Probability")
    row = lines[3].split("\t")
    planted = [*row[:at], repr(float(row[at]) + 1e-12), *row[at + 1 :]]
    table.write_text("\n".join([*lines[:3], "\t".join(planted), *lines[4:], ""]))
    found = compared(json.loads(cli("verify", "bbs-rerun", "--json").stdout), TABLE)
    assert (found["verdict"], found["method"], found["count"]) == ("equal", "table by Entrez", 1)
    assert found["first"][0]["where"] == f"Entrez {row[0]}, column Probability"
    table.write_text("\n".join([*lines[:3], *lines[4:], ""]))
    found = compared(json.loads(cli("verify", "bbs-rerun", "--json", check=1).stdout), TABLE)
    assert (found["verdict"], found["count"]) == ("different", 1)
    assert (found["first"][0]["where"], found["first"][0]["after"]) == (f"Entrez {row[0]}", "(absent)")

    said = cli("rerun", "bbs", "--set", "run.num_folds=5", "--verify", "--here", "--json", check=1, limit=240)
    (whole,) = json.loads(said.stdout)["verified"]
    assert whole["verdict"] == "different"
    run_file = compared({"verified": [whole]}, "save/run.json")
    assert [p["where"] for p in run_file["first"]][:2] == ["parameters.num_folds", "cv[0]"]
    assert (run_file["first"][0]["before"], run_file["first"][0]["after"]) == (3, 5)

    weaker = "run.logreg_kwargs={max_iter: 10000, solver: lbfgs, penalty: l2, C: 0.5}"
    said = cli("rerun", "bbs", "--set", weaker, "--verify", "--here", "--json", check=1, limit=240)
    (whole,) = json.loads(said.stdout)["verified"]
    text = cli("verify", "bbs-rerun-3", check=1).stdout
    assert f"  {TABLE} (table by Entrez), " in text
    places = [p["where"] for c in whole["compared"] if c["verdict"] == "different" for p in c["first"]]
    assert any(place.startswith("Entrez ") and ", column " in place for place in places), text


def compared(found, name):
    """The comparison of one file."""
    (pair,) = found["verified"]
    return next(c for c in pair["compared"] if c["name"] == name)
