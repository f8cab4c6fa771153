"""Configs that a program or a command line submits, without a file in ConfigSources.

A text stays as its author wrote it, so that the lines in problems are the author's. Only if a name or new
values are given is it written anew.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import yaml

from job_orchestration.config import parameter_keys, yaml_reader
from job_orchestration.config.yaml_writer import to_yaml
from job_orchestration.diagnostics.errors import ConfigRefusedError, UsageError
from job_orchestration.diagnostics.problems import Problem, escaped
from job_orchestration.runs import kept_values
from job_orchestration.submission import gene_set_batches
from job_orchestration.submission.chosen_files import ChosenFile
from job_orchestration.submission.dropped_files import Drop
from job_orchestration.workspace import naming

if TYPE_CHECKING:
    from job_orchestration.config.config import Json

ConfigLike: TypeAlias = Mapping[str, object] | str | os.PathLike[str] | bytes
"""A config: a dict, the path of a YAML file, or the bytes of one."""

_OUTPUT: Final = "outputDir"
_UNNAMED: Final = "config"


@dataclass(frozen=True, slots=True)
class SubmittedConfig:
    """A config on its way into the queue."""

    stem: str
    """The name of the config; empty if it follows from its output folder."""
    data: bytes
    values: Mapping[str, Json] | None
    """What `data` says; `None` if it says no mapping, so that it is refused."""
    is_rewritten: bool = False
    """Whether `data` was written by us, so that no line of a problem means a line of the author."""

    @property
    def is_sweep(self) -> bool:
        """Whether it stands for several runs."""
        return self.values is not None and _is_sweep(self.values)

    def with_values(self, parameters: Mapping[str, object]) -> SubmittedConfig:
        """Return the config with other values.

        Args:
            parameters: dotted key (``epochs``, ``taskId.epochs``, ``model.layers``) to its new value.

        Raises:
            ConfigRefusedError: if a key leads nowhere.
        """
        if self.values is None or not parameters:
            return self
        given = _plain("parameters", parameters)
        values, problems = dict(self.values), []
        for key, value in given.items():
            values, fault = parameter_keys.put(values, key, value)
            if fault is not None:
                problems.append(Problem(f"{self.stem or _UNNAMED}.yaml", fault.what, fault.todo, key))
        if problems:
            raise ConfigRefusedError(problems)
        return replace(self, values=values, data=_text_of("config", values), is_rewritten=True)

    def drop(self, inputs: Mapping[str, str]) -> Drop:
        """Return it as what the pipeline takes.

        Args:
            inputs: key of the config to the path of a stored file.
        """
        config = self.with_values(inputs) if inputs else self
        stem = self.stem or _stem_from(self.values or {})
        return Drop(
            f"{stem}.yaml", config.data, (0, 0, 0, 0), is_submitted=True, inputs=tuple(inputs.items())
        )


def read(config: ConfigLike) -> SubmittedConfig:
    """Read a config.

    Raises:
        ConfigRefusedError: if the file cannot be read as a config.
        UsageError: if there is no such file, or a dict holds what YAML cannot say.
    """
    if isinstance(config, Mapping):
        values = _plain("config", config)
        return SubmittedConfig("", _text_of("config", values), values, is_rewritten=True)
    if isinstance(config, bytes):
        return SubmittedConfig("", config, _values_in(config))
    path = os.path.abspath(os.path.expanduser(os.fspath(config)))
    if not os.path.lexists(path):
        raise UsageError(f"There is no file {escaped(os.fspath(config))}", "Give the path of a YAML file")
    found = ChosenFile(path, is_dropped=False).read_through_links()
    if isinstance(found, Problem):
        raise ConfigRefusedError([found])
    return SubmittedConfig(naming.stem_of(found.filename), found.data, _values_in(found.data))


def is_sweep(config: ConfigLike) -> bool:
    """Return whether a config stands for several runs.

    Raises:
        ConfigRefusedError: as `read`.
        UsageError: as `read`.
    """
    return _is_sweep(config) if isinstance(config, Mapping) else read(config).is_sweep


def _is_sweep(values: Mapping[str, Any]) -> bool:
    return "sweep" in values or gene_set_batches.is_batch(values)


def document_of(filename: str, config: Mapping[str, object]) -> bytes:
    """Return a dict as a YAML document; NumPy's numbers, paths, dates, … become their JSON.

    Raises:
        UsageError: if it holds what YAML cannot say.
    """
    return _text_of(filename, _plain(filename, config))


def _values_in(data: bytes) -> Mapping[str, Json] | None:
    if len(data) > yaml_reader.MAX_BYTES:
        what = f"the config has {len(data)} bytes, and {yaml_reader.MAX_BYTES} are the most"
        raise ConfigRefusedError([Problem(f"{_UNNAMED}.yaml", what, "Keep data in other files")])
    root, problems = yaml_reader.read(data, _UNNAMED)
    values = None if root is None or any(p.is_error for p in problems) else yaml_reader.plain(root)
    return values if isinstance(values, dict) else None


def _plain(name: str, config: Mapping[str, object]) -> dict[str, Json]:
    value, phrases = kept_values.kept(dict(config), "config", limit=None)
    if phrases:
        raise UsageError(
            f"{name} cannot be written as YAML: {escaped('; '.join(phrases))}",
            "Give texts, numbers, booleans, None, lists, dicts, arrays, paths or dates",
        )
    assert isinstance(value, dict)
    return value


def _text_of(name: str, values: Mapping[str, Json]) -> bytes:
    try:
        return to_yaml(dict(values))
    except (yaml.YAMLError, TypeError, ValueError, RecursionError) as error:
        reason = escaped(str(error.args[0] if error.args else error))
        todo = "A config is a dict of texts, numbers, booleans, None, lists and dicts"
        raise UsageError(f"{name} cannot be written as YAML: {reason}", todo) from None


def _stem_from(values: Mapping[str, Json]) -> str:
    """Return the last fixed part of the output folder, such as ``bbs`` of ``{date}/bbs_{time}``."""
    template = values.get(_OUTPUT)
    parts = re.sub(r"\{\w*\}", "", template).split("/") if isinstance(template, str) else []
    names = [part.strip("_-. ") for part in parts]
    last = next((name for name in reversed(names) if name), _UNNAMED)
    return last if naming.stem_problem(f"{last}.yaml") is None else _UNNAMED
