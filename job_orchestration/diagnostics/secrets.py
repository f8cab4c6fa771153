"""Find and mask secrets in what is written, logged, sent or shown.

Three things tell a secret: the name that it stands under (``API_TOKEN``, ``dbPassword``), its form (a token
of GitHub or AWS, the user of an address, a private key), and that it is known: the value of an environment
variable or of a config's key with such a name. Pure.
"""

from __future__ import annotations

import base64
import functools
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MASK: Final = "****"
SHORTEST: Final = 4
"""Characters; shorter values are not looked for, because they stand in many texts by chance."""

_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_STRONG: Final = re.compile(r"SECRET|PASSW(?:OR)?D|PASSPHRASE|CREDENTIAL")
_WEAK: Final = re.compile(r"(?:KEY|TOKEN)$|^(?:PWD|AUTH|AUTHORIZATION|COOKIE|PAT)$")
_ORDINARY: Final = frozenset({"MONKEY", "TURKEY", "DONKEY", "HOCKEY", "JOCKEY", "WHISKEY", "HOTKEY"})
_FILE: Final = re.compile(
    r"\.(?:ya?ml|json|jsonl|toml|ini|cfg|txt|log|md|py|ipynb|sh|csv|tsv|gmt|np[yz]|pkl|parquet|html|part)$",
    re.IGNORECASE,
)
"""Ends of the names of files: ``passwd.yaml: this is a link`` is a sentence about a file."""
_PATH: Final = re.compile(r"[~.]{0,2}/[^/]+/")
_SHORTEST_WEAK: Final = 8
_LONG: Final = 20
"""Characters: words of ordinary language are shorter."""
_MOST_DEPTH: Final = 12

_FORMS: Final = r"""
      (?P<keep>\b[A-Za-z][A-Za-z0-9+.-]*://)[^\s/?\#@"'<>]+(?=@)               # the user of an address
    | -----BEGIN\ [A-Z ]*PRIVATE\ KEY(?:\ BLOCK)?-----
      (?:.*?-----END\ [A-Z ]*PRIVATE\ KEY(?:\ BLOCK)?-----|[^"]*)                # PEM, PGP, OpenSSH
    | \b(?:AKIA|ASIA|AROA|AIDA|ABIA|ACCA)[A-Z0-9]{16}\b                         # AWS
    | \b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,})              # GitHub
    | \bgl(?:pat|ptt|dt|rt|cbt|agent|soat|ft)-[A-Za-z0-9_.-]{20,}                # GitLab
    | \bxox[abeoprs]-[A-Za-z0-9-]{10,} | \bxapp-[A-Za-z0-9-]{10,}                # Slack
    | (?<=hooks\.slack\.com/services/)[A-Za-z0-9/]{20,}
    | (?<=discord\.com/api/webhooks/)[A-Za-z0-9/_-]{20,}
    | \bAIza[A-Za-z0-9_-]{35} | \bGOCSPX-[A-Za-z0-9_-]{20,} | \bya29\.[A-Za-z0-9_-]{20,}  # Google
    | \beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*               # JWT
    | \bsk-(?:ant-|proj-|live-)?[A-Za-z0-9_-]{20,} | \b[rs]k_(?:live|test)_[A-Za-z0-9]{16,}
    | \bhf_[A-Za-z0-9]{30,} | \bnpm_[A-Za-z0-9]{36} | \bpypi-[A-Za-z0-9_-]{40,}
    | \bdckr_pat_[A-Za-z0-9_-]{20,}
    | (?P<scheme>\b(?:Bearer|Basic)\s+)[A-Za-z0-9+/_.~-]{12,}=*
    """
"""Texts that are secrets by their form; compiled when it is first needed, which takes 4 ms."""
_ASSIGNED: Final = re.compile(
    r"""(?P<name>[A-Za-z_][\w.-]*)(?P<sign>["']?\s*[=:]\s*["']?)(?P<value>[^\s"',;&{}()\[\]]+)"""
)
"""A name and its value, as in ``--api-key=…``, ``token: …`` or ``?access_token=…``."""
_OPTION: Final = re.compile("--?[A-Za-z][A-Za-z0-9_-]*")
_PERCENT: Final = re.compile("%[0-9A-F]{2}")
_URL_ALPHABET: Final = str.maketrans("+/", "-_")


def is_secret(name: str, value: str) -> bool:
    """Return whether a value that stands under a name is a secret.

    A password may be any text. What is called a key or a token often is none (``key: gene_symbol``), so such
    a value must look like one: long, or of letters and digits.
    """
    strength = _strength(name)
    if strength == _NONE or len(value) < SHORTEST or not value.strip(MASK[0]):
        return False
    return strength == _SURE or _looks_random(value)


_NONE, _MAYBE, _SURE = range(3)


@functools.lru_cache(4096)
def _strength(name: str) -> int:
    if _FILE.search(name):
        return _NONE
    words = [word.upper() for word in _WORD.findall(name)]
    if any(map(_STRONG.search, words)) or _STRONG.search("".join(words)):
        return _SURE
    if words and any(_WEAK.search(word) and word not in _ORDINARY for word in words):
        return _MAYBE
    return _NONE


def _looks_random(value: str) -> bool:
    if len(value) < _SHORTEST_WEAK or any(map(str.isspace, value)) or _PATH.match(value):
        return False
    has_both = any(map(str.isdigit, value)) and any(map(str.isalpha, value))
    return has_both or len(value) >= _LONG


def values_in(values: object, depth: int = 0) -> frozenset[str]:
    """Return the secrets in a mapping of names to values, such as the environment or a config."""
    found: set[str] = set()
    if depth > _MOST_DEPTH:
        return frozenset()
    if isinstance(values, Mapping):
        for name, value in values.items():
            if isinstance(value, str):
                found |= {value} if isinstance(name, str) and is_secret(name, value) else set()
            else:
                found |= values_in(value, depth + 1)
    elif isinstance(values, list | tuple):
        for value in values:
            found |= values_in(value, depth + 1)
    return frozenset(found)


def masked(text: str, known: Iterable[str] = ()) -> str:
    """Return a text with every secret masked: by form, by the name before it, or because it is known."""
    text = redacted(text, known) if known else text
    text = _forms().sub(lambda match: f"{match['keep'] or match['scheme'] or ''}{MASK}", text)
    return _ASSIGNED.sub(_assigned, text)


@functools.cache
def _forms() -> re.Pattern[str]:
    return re.compile(_FORMS, re.VERBOSE | re.DOTALL)


def _assigned(match: re.Match[str]) -> str:
    if not is_secret(match["name"], match["value"]):
        return match[0]
    return f"{match['name']}{match['sign']}{MASK}"


def masked_words(words: Iterable[str], known: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the words of a command line with secrets masked; the word after ``--token`` is one."""
    known = frozenset(known)
    found: list[str] = []
    option = ""
    for word in words:
        found.append(MASK if option and is_secret(option, word) else masked(word, known))
        option = word if _OPTION.fullmatch(word) else ""
    return tuple(found)


def masked_values(value: Any, name: str = "", known: Iterable[str] = ()) -> Any:
    """Return a JSON value with secrets masked, by the names of its keys as well."""
    if isinstance(value, str):
        return MASK if is_secret(name, value) else masked(value, known)
    if isinstance(value, Mapping):
        return {key: masked_values(inner, key, known) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [masked_values(inner, name, known) for inner in value]
    return value


def hidden(value: Any, name: str) -> Any:
    """Return a value with the texts masked that stand under the name of a secret, and nothing else."""
    if isinstance(value, str):
        return MASK if is_secret(name, value) else value
    if isinstance(value, Mapping):
        return {key: hidden(inner, str(key)) for key, inner in value.items()}
    if isinstance(value, list):
        return [hidden(inner, name) for inner in value]
    return value


def redacted(text: str, known: Iterable[str]) -> str:
    """Return a text with known secrets masked, in their encodings too (URL, base64, hex, JSON, HTML)."""
    forms = {form for secret in known for form in (secret, *_encodings_of(secret))}
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, MASK)
    return text


def _encodings_of(secret: str) -> Iterator[str]:
    """Yield what programs make of a secret when they print it as a part of an address or a header."""
    import html  # its tables take a millisecond to load
    from urllib.parse import quote, quote_plus  # a command that only looks encodes none

    data = secret.encode("utf-8", "surrogateescape")
    for encoded in (quote(data, safe=""), quote(data), quote_plus(data)):
        yield encoded
        yield _PERCENT.sub(lambda match: match[0].lower(), encoded)
    yield data.hex()
    yield data.hex().upper()
    yield json.dumps(secret)[1:-1]
    yield html.escape(secret)
    yield from _base64_of(data)


def _base64_of(data: bytes) -> Iterator[str]:
    """Yield the base64 of a secret, alone and inside a longer text (``user:secret``), in both alphabets."""
    found = [base64.b64encode(data).decode()]
    for before in range(3):  # the same bytes look different at each place in a group of three
        characters = base64.b64encode(b"\0" * before + data).decode()
        whole = characters[-(-before * 8 // 6) : (before + len(data)) * 8 // 6]
        if len(whole) >= SHORTEST:
            found.append(whole)
    for text in found:
        yield text
        yield text.translate(_URL_ALPHABET)
