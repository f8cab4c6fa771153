"""A recipient's target: environment variables, secrets, and its label. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from job_orchestration.config.notification_settings import VARIABLE, WORKSPACE, Recipient, variables_in
from job_orchestration.diagnostics import secrets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from job_orchestration.config.config import Json

_SEPARATORS: Final = re.compile(r"[/:@?&=+,;\s]+")
_HOSTED: Final = ("http", "json", "xml", "form", "mailto")
"""Schemes whose host is no secret; in others a token may stand in place of the host."""


def shows_password(target: Json) -> bool:
    """Return whether an address contains a password in plain text, not as an environment variable."""
    texts = target if isinstance(target, list) else [target]
    found = [re.match(r"[\w+.-]+://[^/@\s]*?:([^/@\s]+)@", text) for text in texts if isinstance(text, str)]
    return any(match is not None and not VARIABLE.search(match[1]) for match in found)


def expanded(target: Json, environment: Mapping[str, str]) -> Json:
    """Return a target with its variables replaced.

    Raises:
        KeyError: a variable that is not set.
    """
    if isinstance(target, list):
        return [expanded(part, environment) for part in target]
    if not isinstance(target, str):
        return target
    return VARIABLE.sub(lambda match: environment[match[1]], target)


def secrets_of(target: Json, environment: Mapping[str, str]) -> frozenset[str]:
    """Return every piece of a target that may be a secret: values of variables, and parts of an address."""
    found = {environment[name] for name in variables_in(target) if name in environment}
    try:
        whole = expanded(target, environment)
    except KeyError:
        whole = target
    for text in whole if isinstance(whole, list) else [whole]:
        if not isinstance(text, str) or "://" not in text:
            continue
        scheme, _, rest = text.partition("://")
        if scheme.lower().startswith(_HOSTED):
            authority = re.split("[/?]", rest, maxsplit=1)[0]
            rest = f"{authority.rpartition('@')[0]} {rest[len(authority) :]}"
        found |= {form for piece in _SEPARATORS.split(rest) for form in (piece, unquote(piece))}
    return frozenset(piece for piece in found if len(piece) >= secrets.SHORTEST)


def redacted(text: str, known: frozenset[str]) -> str:
    """Return a text with every secret masked: those that are known, and those that look like one."""
    return secrets.masked(text, known)


def label_of(recipient: Recipient) -> str:
    """Return the name of a recipient for messages and logs: at most the scheme of an address."""
    target = recipient.target if isinstance(recipient.target, str) else ""
    scheme, found, _ = target.partition("://")
    how = f"{scheme}://…" if found and re.fullmatch(r"[\w+.-]+", scheme) else recipient.kind
    where = "workspace.yaml" if recipient.source == WORKSPACE else "the config"
    return f"{recipient.key} of {where} ({how})"
