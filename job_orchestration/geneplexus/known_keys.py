"""The keys that the three tasks read, and warnings about other keys.

A config may have tasks of its own beside these, and then keys of its own; so beyond what looks mistyped, a
key at the top of a config is only doubted if all its tasks are of this package.
Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from job_orchestration.config.validation import KNOWN_KEYS
from job_orchestration.config.words_without_effect import WORDS
from job_orchestration.diagnostics.suggestions import did_you_mean, nearest_key, nearest_names
from job_orchestration.geneplexus.settings import (
    ALIASES,
    DATA_KEYS,
    REFUSED,
    entries,
    method_name,
    own_entry,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LIST_KEYS: Final = (
    *("geneset", "genesetFile", "geneColumn", "genesetName", "genesets", "genesetsFrom"),
    *("negatives", "negativesFile", "negativesColumn", "negativesName"),
)
TRAINING_KEYS: Final = (
    *("logreg_kwargs", "scale", "min_num_pos", "min_num_pos_cv", "num_folds", "null_val", "random_state"),
    *("cross_validate", "num_nodes"),
)
_OWN: Final[Mapping[str, tuple[str, ...]]] = {
    "LoadGeneset": LIST_KEYS,
    "RunGenePlexus": (*TRAINING_KEYS, "genesetTask"),
    "SaveResults": ("resultsTask", "figures", "legacyNames", "zip", "jobname"),
}
_OLDER: Final = tuple(name for names in ALIASES.values() for name in names)
_SHARED: Final = (*sorted(DATA_KEYS), *_OLDER, *REFUSED)
_ALL: Final = (*(key for keys in _OWN.values() for key in keys), *_SHARED)
_MEANT: Final = {
    **dict.fromkeys(("network", "net", "graph"), "net_type"),
    **dict.fromkeys(("species", "organism"), "sp_trn"),
    **dict.fromkeys(("data", "data_path", "data_folder", "datadir", "data_dir"), "file_loc"),
    **dict.fromkeys(("folds", "n_folds", "k_folds"), "num_folds"),
    **dict.fromkeys(("collection", "gene_set_collection"), "gsc_trn"),
    **dict.fromkeys(("gene_set", "gene_list", "genelist"), "geneset"),
    **dict.fromkeys(("gene_file", "geneFile", "gene_set_file", "geneListFile"), "genesetFile"),
}
"""Hints for other keys that people try."""


def warnings(config: Mapping[str, Any], class_name: str, logreg: Sequence[str]) -> list[str]:
    """Return warnings about keys that no task reads.

    Args:
        config: the task's config.
        class_name: the task's class.
        logreg: the parameters of the logistic regression, which belong into ``logreg_kwargs``.
    """
    entry, tasks = own_entry(config), entries(config)
    said = [_of_entry(key, class_name, config, logreg) for key in entry]
    ours = [one for one in tasks if method_name(one) in _OWN]
    if ours and ours[0].get("id") == config.get("id"):
        alone = len(ours) == len(tasks)
        said += [_of_top(key, config, logreg, alone=alone) for key in config if key not in entry]
    return [sentence for sentence in said if sentence]


def _of_entry(key: str, class_name: str, config: Mapping[str, Any], logreg: Sequence[str]) -> str:
    if key in {"id", "method", *KNOWN_KEYS, *WORDS, *_OWN[class_name], *_SHARED}:
        return ""
    owner = next((name for name, keys in _OWN.items() if key in keys), None)
    if owner:
        return (
            f"{key}: this is read by {owner} and not by this task. Put it there, or at the top of the config."
        )
    if key in logreg:
        return _of_logreg(key)
    near = nearest_names(key, [one for one in (*_OWN[class_name], *_SHARED) if one not in config])
    meant = [_MEANT[key]] if key in _MEANT else near
    return f"{key}: {class_name} does not read this. {did_you_mean(meant) if meant else 'Take it out.'}"


def _of_top(key: str, config: Mapping[str, Any], logreg: Sequence[str], *, alone: bool) -> str:
    if key in {"id", "method", *KNOWN_KEYS, *WORDS, *_ALL} or nearest_key(key, KNOWN_KEYS, config):
        return ""
    near = nearest_key(key, _ALL, config)
    if alone and not near:
        if key in logreg:
            return _of_logreg(key)
        close = [one for one in _ALL if one not in config and one[:1].lower() == key[:1].lower()]
        near = _MEANT.get(key) or next(iter(nearest_names(key, close)), None)
    return f"{key}: the GenePlexus tasks do not read this. {did_you_mean([near])}" if near else ""


def _of_logreg(key: str) -> str:
    return f"{key}: this is a parameter of the logistic regression. Write logreg_kwargs: {{{key}: ...}}."
