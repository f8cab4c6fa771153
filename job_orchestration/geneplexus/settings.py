"""Read and check the GenePlexus settings of a config; all problems are reported at once.

GenePlexus itself answers a wrong name with a warning and looks for a file of that name later, at the
step that needs it; a wrong number ends in a traceback from the depth of a library. So everything is
checked before a run is queued, and what comes out is one frozen value. Pure: no file is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from job_orchestration.diagnostics.suggestions import did_you_mean, nearest_names
from job_orchestration.TaskBase import NotApplicable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NETWORKS = ("STRING", "BioGRID", "IMP")
FEATURES = ("SixSpeciesN2V",)
COLLECTIONS = ("GO", "Monarch", "Mondo", "Combined")
SPECIES = ("Human", "Mouse", "Fly", "Worm", "Zebrafish", "Yeast")

ALIASES = {
    "gsc_trn": ("gsc", "GSC"),
    "gsc_res": ("gsc", "GSC"),
    "num_nodes": ("max_num_genes",),
    "geneset": ("genes", "input_genes"),
    "negatives": ("input_negatives",),
    "zip": ("zip_output",),
}
"""Names of earlier GenePlexus services that mean the same."""

DATA_KEYS = frozenset(
    {"file_loc", "net_type", "features", "sp_trn", "sp_res", "gsc_trn", "gsc_res", "gsc", "GSC"}
)
"""The keys that all three tasks share; they belong at the top of a config."""

_GONE = {
    "DisGeNet": "Mondo",
    "GIANT-TN": "IMP",
    "STRING-EXP": "STRING",
    "Embedding": "SixSpeciesN2V",
    "Adjacency": "SixSpeciesN2V",
    "Influence": "SixSpeciesN2V",
}
REFUSED = {
    "auto_download": "Runs never download. Fetch the data once, and name the folder in file_loc",
    "do_clustering": "These tasks train one model on all genes. Give each cluster a config of its own",
    "clust_method": "These tasks train one model on all genes. Give each cluster a config of its own",
    "log_to_file": "What GenePlexus logs is in the run's log.log. Take the key out",
    "output_dir": "Results lie in the run's own folder. Use outputDir",
    "overwrite": "Results are never overwritten. Use overwriteOutputFine",
}


@dataclass(frozen=True, slots=True)
class Choice:
    """Which network, features, species and gene set collections: it decides which data files are read."""

    net_type: str = "STRING"
    features: str = "SixSpeciesN2V"
    sp_trn: str = "Human"
    gsc_trn: str = "Combined"
    results: tuple[tuple[str, str], ...] = (("Human", "Combined"),)
    """The species of the results, each with its collection; no pair twice."""

    def as_json(self) -> dict[str, Any]:
        """The choice under GenePlexus's argument names."""
        return {
            "net_type": self.net_type,
            "features": self.features,
            "sp_trn": self.sp_trn,
            "sp_res": [species for species, _ in self.results],
            "gsc_trn": self.gsc_trn,
            "gsc_res": [collection for _, collection in self.results],
        }


@dataclass(frozen=True, slots=True)
class Training:
    """How the model is trained and how much of the network is shown, by GenePlexus's argument names."""

    logreg_kwargs: Mapping[str, Any]
    scale: bool = False
    min_num_pos: int = 15
    min_num_pos_cv: int = 15
    num_folds: int = 3
    null_val: float | None = None
    random_state: int | None = 0
    cross_validate: bool = True
    num_nodes: int = 50

    def too_few(self, positives: int) -> list[str]:
        """Return why a number of positive genes is too small, as sentences; none if it is not."""
        problems = []
        if positives < self.min_num_pos:
            problems.append(
                f"Only {positives} genes of the gene set are in the network, and min_num_pos is "
                f"{self.min_num_pos}. Give more genes, or lower min_num_pos."
            )
        validates = self.cross_validate and positives >= self.min_num_pos_cv
        if validates and positives < self.num_folds:
            problems.append(
                f"{positives} genes cannot be split into num_folds: {self.num_folds}. Lower num_folds, "
                f"or set cross_validate: false."
            )
        return problems


def effective(species: str, collection: str) -> str:
    """The collection whose files are read: a fly's Combined holds only GO."""
    return "GO" if (species, collection) == ("Fly", "Combined") else collection


def not_offered(species: str, collection: str, net_type: str) -> str:
    """Return why GenePlexus has no data for this combination; empty if it has."""
    if species == "Zebrafish" and net_type == "BioGRID":
        return "GenePlexus has no BioGRID network for Zebrafish. Use STRING or IMP."
    if species == "Fly" and collection == "Monarch":
        return "GenePlexus has no Monarch gene sets for Fly. Use GO or Combined."
    if species != "Human" and collection == "Mondo":
        return (
            f"GenePlexus has Mondo gene sets for Human only, not for {species}. Use GO, Monarch or Combined."
        )
    return ""


def entries(config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The entries of ``tasks``, in order."""
    return [entry for entry in config.get("tasks") or () if isinstance(entry, dict)]


def own_entry(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The task's own entry in ``tasks``, with what it says itself; an empty mapping if there is none."""
    return next((entry for entry in entries(config) if entry.get("id") == config.get("id")), {})


def method_name(entry: Mapping[str, Any]) -> str:
    """The class in a method: ``RunGenePlexus`` of ``job_orchestration.geneplexus.tasks:RunGenePlexus``."""
    return str(entry.get("method", "")).replace(":", ".").rsplit(".", 1)[-1]


class Reader:
    """Read values of a config and collect their problems."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config
        self._own = own_entry(config)
        self.problems: list[str] = []

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key or of one of its older names; any of them in the task's own entry wins."""
        names = (key, *ALIASES.get(key, ()))
        found = (values[name] for values in (self._own, self.config) for name in names if name in values)
        return next(found, default)

    def name(self, key: str, value: Any, legal: Sequence[str]) -> str:
        """A value that must be one of a few names."""
        if value in legal:
            return str(value)
        choices = f"Choose one of {', '.join(legal)}."
        hint = ""
        if isinstance(value, str):
            if value in _GONE:
                hint = f" GenePlexus 3 no longer has it; {_GONE[value]} is the nearest."
            else:
                hint = _closest(value, legal)
        self.problems.append(f"{key} is {value!r}, which GenePlexus does not have.{hint} {choices}")
        return legal[0]

    def whole(self, key: str, default: int, least: int) -> int:
        """A whole number that is not too small."""
        value = self.get(key, default)
        if isinstance(value, int) and not isinstance(value, bool) and value >= least:
            return value
        self.problems.append(f"{key} is {value!r}. Give a whole number, {least} or more.")
        return default

    def flag(self, key: str, default: bool) -> bool:  # noqa: FBT001  the default of a yes-or-no value
        """True or false."""
        value = self.get(key, default)
        if isinstance(value, bool):
            return value
        self.problems.append(f"{key} is {value!r}. Write true or false.")
        return default

    def figures(self, legal: Sequence[str]) -> tuple[str, ...]:
        """The formats of the figures: all of them by default, none for an empty list."""
        value = self.get("figures", list(legal))
        many = [value] if isinstance(value, str) else value
        if isinstance(many, list) and all(one in legal for one in many):
            return tuple(dict.fromkeys(many))
        self.problems.append(f"figures is {value!r}. Give a list of formats from {', '.join(legal)}, or [].")
        return tuple(legal)

    def results(self, net_type: str) -> tuple[tuple[str, str], ...]:
        """The species of the results with their collections; of ``All``, those that GenePlexus has."""
        species = self.get("sp_res", "Human")
        everything = species == "All"
        many = list(SPECIES) if everything else [species] if not isinstance(species, list) else species
        collections = self.get("gsc_res", "Combined")
        if not isinstance(collections, list):
            collections = [collections] * len(many)
        if not many or len(many) != len(collections):
            plural = "s" * (len(collections) != 1)
            self.problems.append(
                f"sp_res names {len(many)} species and gsc_res {len(collections)} collection{plural}. "
                f"Give one collection for each species, or one for all."
            )
            return ()
        pairs: dict[tuple[str, str], tuple[str, str]] = {}
        for one, other in zip(many, collections, strict=True):
            pair = self.name("sp_res", one, SPECIES), self.name("gsc_res", other, COLLECTIONS)
            reason = not_offered(*pair, net_type)
            if reason and not everything:
                self.problems.append(NotApplicable(f"sp_res, gsc_res: {reason}"))
            elif not reason:
                # GenePlexus keeps the first of two that read the same files.
                pairs.setdefault((pair[0], effective(*pair)), pair)
        return tuple(pairs.values())


def read_choice(config: Mapping[str, Any]) -> tuple[Choice, list[str]]:
    """Read the choice of a config and its problems; the choice is valid only if there are none."""
    reader = Reader(config)
    net_type = reader.name("net_type", reader.get("net_type", "STRING"), NETWORKS)
    features = reader.name("features", reader.get("features", FEATURES[0]), FEATURES)
    sp_trn = reader.name("sp_trn", reader.get("sp_trn", "Human"), SPECIES)
    gsc_trn = reader.name("gsc_trn", reader.get("gsc_trn", "Combined"), COLLECTIONS)
    if reason := not_offered(sp_trn, gsc_trn, net_type):
        reader.problems.append(NotApplicable(f"sp_trn, gsc_trn: {reason}"))
    results = reader.results(net_type)
    unique = list(dict.fromkeys(reader.problems))
    return Choice(net_type, features, sp_trn, gsc_trn, results), unique


def read_training(config: Mapping[str, Any], logreg: Mapping[str, Any]) -> tuple[Training, list[str]]:
    """Read the training settings of a config, and their problems.

    Args:
        config: the task's config.
        logreg: GenePlexus's own settings of the logistic regression (``defaults``), and the names that
            scikit-learn knows (``legal``).
    """
    reader = Reader(config)
    seed = reader.get("random_state", 0)
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32):
        reader.problems.append(
            f"random_state is {seed!r}. Give a whole number from 0 to 4294967295, or null."
        )
        seed = 0
    null = reader.get("null_val")
    if null is not None and (isinstance(null, bool) or not isinstance(null, (int, float))):
        reader.problems.append(f"null_val is {null!r}. Give a number, or null.")
        null = None
    training = Training(
        logreg_kwargs=_logreg(reader, logreg, seed),
        scale=reader.flag("scale", False),
        min_num_pos=reader.whole("min_num_pos", 15, 1),
        min_num_pos_cv=reader.whole("min_num_pos_cv", 15, 1),
        num_folds=reader.whole("num_folds", 3, 2),
        null_val=null,
        random_state=seed,
        cross_validate=reader.flag("cross_validate", True),
        num_nodes=reader.whole("num_nodes", 50, 1),
    )
    reader.problems += [
        f"{key} is not for these tasks. {todo}." for key, todo in REFUSED.items() if config.get(key)
    ]
    return training, reader.problems


def _logreg(reader: Reader, logreg: Mapping[str, Any], seed: int | None) -> dict[str, Any]:
    given = reader.get("logreg_kwargs") or {}
    if not isinstance(given, dict):
        reader.problems.append(f"logreg_kwargs is {given!r}. Give a mapping such as {{C: 0.5}}.")
        given = {}
    for key in given:
        if key not in logreg["legal"]:
            reader.problems.append(
                f"logreg_kwargs has {key!r}, which LogisticRegression does not know."
                f"{_closest(str(key), logreg['legal'])} "
                f"Choose from {', '.join(sorted(logreg['legal']))}."
            )
    settings = {**logreg["defaults"], **given}
    if settings.get("solver") in {"liblinear", "sag", "saga"}:
        # These draw random numbers, and GenePlexus does not pass its random_state on.
        settings.setdefault("random_state", seed)
    return settings


def _closest(word: str, legal: Sequence[str]) -> str:
    near = nearest_names(word, legal)
    return f" {did_you_mean(near)}" if near else ""
