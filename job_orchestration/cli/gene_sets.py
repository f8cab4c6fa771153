"""`geneplexus` on the command line: check gene lists, download data, summarize batches."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any, Final

from job_orchestration.cli import output
from job_orchestration.cli.output import ExitCode
from job_orchestration.diagnostics.errors import UsageError
from job_orchestration.diagnostics.plurals import counted
from job_orchestration.diagnostics.problems import escaped, named

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Mapping

_CHECK: Final = "job_orchestration.geneplexus.list_check"
_DOWNLOAD: Final = "job_orchestration.geneplexus.downloads"
"""Modules named as text, as in the command table: they import GenePlexus."""
_SHOWN: Final = 8


def geneplexus(arguments: Namespace) -> int:
    """Do one of the three."""
    return {"check": _check, "download": _download, "summary": _summary}[arguments.what](arguments)


def _imported(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UsageError(
            "GenePlexus is not installed", "pip install 'job-orchestration[geneplexus]'"
        ) from error


def _check(arguments: Namespace) -> int:
    if not arguments.operands:
        raise UsageError("There is no list to check", "Name files of genes: geneplexus check genes.txt")
    folder = arguments.data or os.environ.get("DATA_PATH")
    if not folder:
        raise UsageError("The folder of the data is not known", "Give --data DIR, or set DATA_PATH")
    species = (arguments.species or ["Human"])[0]
    found = _imported(_CHECK).check(arguments.operands, folder, species, arguments.network or ())
    if arguments.json:
        output.print_json(found)
    else:
        for one in found:
            _print_list(one)
    return 0 if all(one["is_fine"] for one in found) else ExitCode.REFUSED


def _print_list(one: Mapping[str, Any]) -> None:
    title = escaped(one["list"] if one["gene_set"] is None else f"{one['list']}, {one['gene_set']}")
    if one["problem"]:
        print(f"{title}: {escaped(one['problem'])}")
        return
    print(f"{title}: {counted(one['names'], 'name')} from {escaped(one['source'])}")
    counts = {"mapped": one["mapped"], "ambiguous": len(one["ambiguous"]), "missing": len(one["missing"])}
    print(f"  {', '.join(f'{count} {what}' for what, count in counts.items())}")
    if one["ambiguous"]:
        several = (f"{name} ({', '.join(ids)})" for name, ids in one["ambiguous"].items())
        print(f"  ambiguous: {escaped(named(several, _SHOWN))}")
    if one["missing"]:
        print(f"  missing: {escaped(named(one['missing'], _SHOWN))}")
    for name, network in one["networks"].items():
        lacking = f"; not there: {escaped(named(network['missing'], _SHOWN))}" if network["missing"] else ""
        enough = "" if network["is_enough"] else f", too few: {network['least']} are needed"
        print(f"  {name}: {counted(network['positives'], 'gene')}{enough}{lacking}")


def _download(arguments: Namespace) -> int:
    folder = arguments.operands[0] if len(arguments.operands) == 1 else arguments.data
    if not folder or len(arguments.operands) > 1:
        raise UsageError(
            "The folder for the data is not known", "Name one: geneplexus download /data/geneplexus"
        )
    downloads = _imported(_DOWNLOAD)
    try:
        found = downloads.download(folder, arguments.species or ("Human",), arguments.source, output.complain)
    except downloads.DownloadError as error:
        output.complain(escaped(str(error)))
        return ExitCode.RUNS_FAILED
    if arguments.json:
        output.print_json(found)
    else:
        for name, one in found["species"].items():
            done = "downloaded and verified" if one["is_new"] else "all files are there"
            print(f"{name}: {done}, {counted(one['files'], 'file')} in {escaped(found['folder'])}")
    return 0


def _summary(arguments: Namespace) -> int:
    from job_orchestration.commands.batch_summary import summarize

    workspace = output.prepared(arguments)
    if len(arguments.operands) != 1:
        raise UsageError(
            "A summary is of one batch", "Name its folder: geneplexus summary 2026_11_20/hallmarks"
        )
    found = summarize(workspace, arguments.operands[0], only_tables=arguments.tables)
    if arguments.json:
        output.print_json(found.as_json())
        return 0
    left_out = f", {found.left_out} left out" if found.left_out else ""
    print(f"{counted(found.runs, 'run')}, {found.completed} completed{left_out}")
    print(f"{escaped(found.folder)}: {escaped(named(found.files, _SHOWN))}")
    for note in found.notes:
        output.complain(note)
    return 0
