"""Write YAML that every reader understands alike.

Some unquoted words mean different things in YAML 1.1, which PyYAML reads, and in YAML 1.2, which
`config.yaml_reader` reads: ``1e5``, ``no``, ``010``, ``1:30``. A text is quoted if either would read it as
another type. Pure.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

from job_orchestration.config.yaml_scalars import resolve
from job_orchestration.diagnostics.problems import escaped

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from job_orchestration.config.config import Json

try:
    from yaml import CSafeDumper as _Dumper
except ImportError:  # PyYAML was built without libyaml
    from yaml import SafeDumper as _Dumper  # type: ignore[assignment]

_LINES = re.compile(r"(?:[!-~](?:[ -~]*[!-~])?\n)+[!-~](?:[ -~]*[!-~])?\n?")
"""Several lines of visible characters, which a literal block can hold without escapes."""
_NEEDS_ESCAPES = re.compile("[^ -~\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")


class _Writer(_Dumper):
    """A dumper that repeats values instead of writing aliases, and quotes ambiguous texts."""

    def ignore_aliases(self, _data: object) -> bool:
        return True


def _text(writer: _Writer, text: str) -> Any:
    if _LINES.fullmatch(text):
        style = "|"
    elif _NEEDS_ESCAPES.search(text):
        style = '"'
    else:
        style = "" if _stays_text(text) else "'"
    return writer.represent_scalar("tag:yaml.org,2002:str", text, style=style or None)


def _stays_text(text: str) -> bool:
    try:
        return isinstance(resolve(text), str)
    except ValueError:
        return False


_Writer.add_representer(str, _text)


def to_yaml(values: Mapping[str, Json], comment: str = "") -> bytes:
    """Write a mapping as block-style UTF-8 YAML, in its own order.

    Args:
        values: the mapping; `yaml_reader.read` and PyYAML's ``safe_load`` (YAML 1.1) both read it back.
        comment: lines to write before it, each as ``# …``.
    """
    head = "".join(f"# {escaped(line)}".rstrip() + "\n" for line in comment.splitlines())
    return head.encode() + _dumped(dict(values))


def rows_to_yaml(rows: Iterable[Mapping[str, Json]]) -> bytes:
    """Write a list of mappings in the same style."""
    return _dumped([dict(row) for row in rows])


def _dumped(value: object) -> bytes:
    text: str = yaml.dump(
        value, Dumper=_Writer, sort_keys=False, default_flow_style=False, allow_unicode=True, width=2**30
    )
    return text.encode()
