"""Runs that are queued without any code to run: enough for tests of tokens, claims and openings."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from job_orchestration.config.yaml_writer import to_yaml
from job_orchestration.runs import claims, opening, token, token_header
from job_orchestration.runs.events import Readied
from job_orchestration.submission import dropped_files
from job_orchestration.workspace.naming import TokenName

if TYPE_CHECKING:
    from job_orchestration.workspace.layout import Workspace

TASKS = [{"id": "one", "method": "a:B"}, {"id": "two", "method": "a:B"}]


def opening_of(
    workspace: Workspace, name: str, run: str | None = None, stem: str | None = None, **more: object
) -> opening.Opening:
    """What `ready` makes of a config, with more values; the config is dropped when it is not there."""
    sources = Path(workspace.sources)
    if not (sources / f"{name}.yaml").exists():
        (sources / f"{name}.yaml").write_text("dropped\n")
    drop = dropped_files.read_drop(sources, f"{name}.yaml", settled=lambda _: True)
    assert isinstance(drop, dropped_files.Drop)
    run = run or f"runs/{name}"
    values = {"outputDir": run, "tasks": TASKS, **more}
    data = to_yaml(values, comment=f"{token_header.HEADER}{run}")  # type: ignore[arg-type]  # plain JSON
    readied = Readied(name, hashlib.sha256(data).hexdigest(), values, 7)  # type: ignore[arg-type]  # the same
    return opening.Opening(drop, run, stem or name, data, b"{}\n", readied)


def queue(workspace: Workspace, *names: str, **more: object) -> list[token.Token]:
    """Queue runs; returns their tokens in the order of the names."""
    with opening.only_one(workspace):
        opening.open_runs(workspace, [opening_of(workspace, name, **more) for name in names])  # type: ignore[arg-type]  # all of it is values
    found = {t.name.stem: t for t in token.scan(workspace.to_run)}
    return [found[name] for name in names]


def claim(workspace: Workspace, found: token.Token, worker: str = "lab.1.abc") -> claims.Claim | None:
    """Try to claim a token."""
    return claims.claim(workspace, found, worker, "lab")


def taken(workspace: Workspace, found: token.Token, worker: str = "lab.1.abc") -> claims.Claim:
    """Claim a token that must be free."""
    claimed = claim(workspace, found, worker)
    assert claimed is not None
    return claimed


def tokens(workspace: Workspace) -> dict[str, list[str]]:
    """The names in each of the folders of configs that are not empty."""
    folders = {place.value: Path(folder) for place, folder in workspace.folders.items()}
    found = {place: sorted(p.name for p in folder.iterdir()) for place, folder in folders.items()}
    return {place: names for place, names in found.items() if names}


def finish_move(workspace: Workspace, claimed: claims.Claim, folder: str | None = None) -> str:
    """Move a claimed token where its life ends."""
    return claimed.move(folder or workspace.completed, TokenName(claimed.name.stem))
