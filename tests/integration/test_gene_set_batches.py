"""Batches of gene sets with real GenePlexus: what is queued, what is left out, and the summary of a batch."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pytest

pytest.importorskip("geneplexus", reason="the extra [geneplexus] is not installed")

from job_orchestration import ConfigRefusedError, Workspace
from tests.geneplexus_bench import TASKS

TOP = Path(__file__).resolve().parents[2]
REAL = Path(os.environ.get("GENEPLEXUS_DATA") or TOP.parent / "shared" / "geneplexus_data").absolute()


def table_in(path):
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


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
