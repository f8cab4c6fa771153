"""Parsers of the values of arguments; each raises `argparse.ArgumentTypeError` with a sentence.

They import their rules only if a value is given, so that ``--help`` imports none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from job_orchestration.config.config import Json
    from job_orchestration.config.expressions import Filter
    from job_orchestration.housekeeping.retention import Keep


def positive(text: str) -> int:
    """Parse a whole number from 1."""
    import argparse

    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1")
    return int(text)


def count(text: str) -> int:
    """Parse a whole number from 0."""
    return 0 if text == "0" else positive(text)


def port(text: str) -> int:
    """Parse the number of a port; 0 means any that is free."""
    import argparse

    if not text.isdecimal() or int(text) > 65_535:  # noqa: PLR2004 - the highest port
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 0 to 65535")
    return int(text)


def workers(text: str) -> int | None:
    """Parse a number of workers; `None` for ``auto``."""
    return None if text.lower() == "auto" else positive(text)


def duration(text: str) -> float:
    """Parse a time such as ``90s``, as seconds."""
    import argparse

    from job_orchestration.config.settings import parse_duration

    seconds = parse_duration(text)
    if not seconds:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 90s, 30m or 4h")
    return seconds


def age(text: str) -> float:
    """Parse a time that may be zero."""
    from job_orchestration.config.settings import parse_duration

    return 0.0 if text == "0" or parse_duration(text) == 0 else duration(text)


def words(text: str) -> tuple[str, ...]:
    """Parse words separated by commas."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


def statuses(text: str) -> frozenset[str]:
    """Parse the words of ``--status``."""
    import argparse

    from job_orchestration.commands.selection import statuses_of

    try:
        return statuses_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def expression(text: str) -> Filter:
    """Parse the expression of ``--filter``."""
    import argparse

    from job_orchestration.config.expressions import FilterError, parse

    try:
        return parse(text)
    except FilterError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def keep(text: str) -> Keep:
    """Parse a rule of ``--keep``."""
    import argparse

    from job_orchestration.housekeeping.retention import parse_keep

    found = parse_keep(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not last:N, best:N:METRIC or lowest:N:METRIC")
    return found


def resources(text: str) -> dict[str, int]:
    """Parse amounts of resources."""
    import argparse

    from job_orchestration.config.settings import parse_resources

    parts = [part.partition("=") for part in text.split(",")]
    found = parse_resources({name: int(n) if n.isdecimal() else n for name, _, n in parts})
    if found is None or len(found) < len(parts):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list such as gpus=2,memory=64G,licence=4")
    return dict(found)


def name(text: str) -> str:
    """Parse the name of a resource pool."""
    import argparse

    if not text.replace(".", "").replace("-", "").isalnum() or text.startswith("."):
        raise argparse.ArgumentTypeError(f"{text!r} is not a name of letters, digits, '.' and '-'")
    return text


def tolerance(text: str) -> float:
    """Parse a tolerance."""
    import argparse
    import math

    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 <= found < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number such as 1e-9")
    return found


def assignment(text: str) -> tuple[str, Json]:
    """Parse ``key=value``; the value is YAML."""
    import argparse

    from job_orchestration.config import yaml_reader

    key, equals, value = text.partition("=")
    root, problems = yaml_reader.read(f"value: {value}".encode(), "--set")
    found = yaml_reader.plain(root) if root is not None and not problems else None
    if not key or not equals or not isinstance(found, dict) or found.keys() != {"value"}:
        raise argparse.ArgumentTypeError(f"{text!r} is not a key=value such as epochs=20 or train.lr=0.001")
    return key.strip(), found["value"]


def processes(text: str) -> int | str:
    """Parse a number of processes, or ``auto``."""
    return "auto" if text.lower() == "auto" else positive(text)


def boolean(text: str) -> bool:
    """Parse a word: ``false none no null f n 0`` are false, all others true."""
    return text.strip().lower() not in {"false", "none", "no", "null", "f", "n", "0"}


def argument_of_function(text: str) -> tuple[str | None, Json]:
    """Parse a value as YAML, or ``name=value``; the name is `None` for a positional argument.

    What is no YAML is a text, unless it begins as a list, a mapping or a quoted text does.
    """
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        return None, _yaml(text)
    return name, _yaml(value)


def _yaml(text: str) -> Json:
    import argparse

    from job_orchestration.config import yaml_reader

    root, problems = yaml_reader.read(f"value: {text}".encode(), "argument")
    found = yaml_reader.plain(root) if root is not None and not any(p.is_error for p in problems) else None
    if isinstance(found, dict) and found.keys() == {"value"}:
        return "" if text == "" else found["value"]
    if text[:1] in {"[", "{", '"', "'"}:
        raise argparse.ArgumentTypeError(f"{text!r} is no YAML: close what it begins, or put it in quotes")
    return text
