"""Everybody who is measured: the floors, this project, and what a user would pick instead."""

from __future__ import annotations

import importlib
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.shape import Peer

NAMES = (
    "floors",
    "ours",
    "first_release",
    "doit",
    "huey",
    "jug",
    "signac_flow",
    "luigi",
    "dask",
    "redun",
    "gnu_parallel",
    "task_spooler",
    "snakemake",
    "submitit",
    "prefect",
    "dvc",
)
"""The modules of this folder, the quick ones first."""


@cache
def everybody() -> dict[str, Peer]:
    """All floors and peers, by name."""
    found = [peer for name in NAMES for peer in importlib.import_module(f"benchmarks.peers.{name}").PEERS]
    return {peer.name: peer for peer in found}
