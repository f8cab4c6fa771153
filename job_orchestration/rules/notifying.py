"""Who is told what: the keys ``notify`` and ``callbackUrl``, and how news reads.

An entry of ``notify`` names its notifier by one key (``to``, ``command``, ``callback``, or that of a plugin)
and may say ``on``. What ``workspace.yaml`` says is never copied into a config: who is told is no part of an
experiment, and an address may hold a password. A config's own ``notify`` takes its place, ``null`` included.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from job_orchestration.model.news import NewsKind, Recipient
from job_orchestration.model.problem import quoted
from job_orchestration.rules.naming import Fault
from job_orchestration.rules.settings import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from job_orchestration.model.news import News
    from job_orchestration.model.task import Json

NOTIFY: Final = "notify"
CALLBACK: Final = "callbackUrl"
CONFIG: Final = "config"
WORKSPACE: Final = "workspace"

ENDS: Final = frozenset({NewsKind.COMPLETED, NewsKind.GAVE_UP})
DEFAULT_ON: Final[Mapping[str, frozenset[NewsKind]]] = {
    CONFIG: frozenset({NewsKind.COMPLETED, NewsKind.GAVE_UP, NewsKind.STUCK}),
    WORKSPACE: frozenset({NewsKind.GAVE_UP, NewsKind.QUEUE_EMPTY, NewsKind.STUCK}),
}
"""What is told to an entry without ``on``. A mail for each of 3,000 runs is what nobody means."""

_OFFERED: Final = tuple(kind for kind in NewsKind if kind is not NewsKind.TEST)
_EXAMPLE: Final = 'Write an entry such as `{to: "mailto://user:${PASSWORD}@host", on: [gave_up]}`'
_VARIABLE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_SEPARATORS: Final = re.compile(r"[/:@?&=+,;\s]+")
_SHORTEST_SECRET: Final = 4
_HOSTED: Final = ("http", "json", "xml", "form", "mailto")
"""How addresses begin whose host is no secret; elsewhere a token may stand in its place."""
_MASK: Final = "****"


# -- who is told ------------------------------------------------------------------------------------------


def recipients_of(own: Mapping[str, Json], defaults: Mapping[str, Json]) -> tuple[Recipient, ...]:
    """Everybody who is told of a run; what no check would pass is left out.

    Args:
        own: the run's resolved config.
        defaults: what ``workspace.yaml`` says now.
    """
    source, values = (CONFIG, own) if NOTIFY in own else (WORKSPACE, defaults)
    found = [r for key, entry in _entries(values.get(NOTIFY)) if (r := _recipient(entry, source, key))]
    url = own.get(CALLBACK)
    if isinstance(url, str) and url:
        found.append(Recipient(CONFIG, CALLBACK, "callback", url, ENDS))
    return tuple(found)


def _entries(value: Json) -> Iterator[tuple[str, Json]]:
    if isinstance(value, list):
        yield from ((f"{NOTIFY}[{number}]", entry) for number, entry in enumerate(value))
    elif value is not None:
        yield NOTIFY, value


def _recipient(entry: Json, source: str, key: str) -> Recipient | None:
    if isinstance(entry, str):
        entry = {"to": entry}
    if not isinstance(entry, dict) or _fault_of_entry(entry, source) is not None:
        return None
    (kind,) = entry.keys() - {"on"}
    on = entry.get("on")
    events = [on] if isinstance(on, str) else on if isinstance(on, list) else []
    wanted = frozenset(NewsKind(str(event)) for event in events) or DEFAULT_ON[source]
    return Recipient(source, key, kind, entry[kind], wanted)


# -- what is wrong with it --------------------------------------------------------------------------------


def faults_of(values: Mapping[str, Json], source: str) -> Iterator[tuple[str, Fault]]:
    """What is wrong with ``notify`` and ``callbackUrl``, each with its key; notifiers look further."""
    for key, entry in _entries(values.get(NOTIFY)):
        fault = _fault_of_entry({"to": entry} if isinstance(entry, str) else entry, source)
        if fault is not None:
            yield key, fault
    url = values.get(CALLBACK)
    if url is not None and (fault := fault_of_url(url)):
        yield CALLBACK, fault


def _fault_of_entry(entry: Json, source: str) -> Fault | None:
    if not isinstance(entry, dict):
        return Fault(f"{shown(entry)} names nobody to be told", _EXAMPLE)
    kinds = entry.keys() - {"on"}
    if len(kinds) != 1:
        told = f"{', '.join(sorted(kinds))} are several" if kinds else "it names nobody to be told"
        return Fault(f"{told}, and an entry has one", _EXAMPLE)
    (kind,) = kinds
    if not _is_target(entry[kind]):
        return Fault(f"{kind} is not a text, or a list of texts", _EXAMPLE)
    return _fault_of_on(entry["on"], source) if "on" in entry else None


def _is_target(value: Json) -> bool:
    if isinstance(value, list):
        return bool(value) and all(isinstance(part, str) and part for part in value)
    return isinstance(value, str) and bool(value.strip())


def _fault_of_on(on: Json, source: str) -> Fault | None:
    names = ", ".join(_OFFERED)
    events = [on] if isinstance(on, str) else on
    if not isinstance(events, list) or not events:
        return Fault(f"on is {shown(on)}, and a list of events is needed", f"Choose from: {names}")
    for event in events:
        if event not in _OFFERED:
            return Fault(f"there is no event {shown(event)}", f"Choose from: {names}")
        if event == NewsKind.QUEUE_EMPTY and source == CONFIG:
            return Fault("queue_empty is about the whole workspace", "Ask for it in workspace.yaml")
    return None


def fault_of_url(url: Json) -> Fault | None:
    """Why an address cannot be called back."""
    todo = "Write an address such as https://example.org/runs/{run}"
    if not isinstance(url, str):
        return Fault(f"{shown(url)} is not an address", todo)
    if url.startswith("${"):
        return None
    try:
        parts = urlsplit(_VARIABLE.sub("1", url))
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or re.search(r"[\s\0-\x1f]", url):
        return Fault("this is not an address that begins with http:// or https:// and a host", todo)
    return None


def shows_password(target: Json) -> bool:
    """Whether a password stands in an address, where a variable of the environment could."""
    texts = target if isinstance(target, list) else [target]
    found = [re.match(r"[\w+.-]+://[^/@\s]*?:([^/@\s]+)@", text) for text in texts if isinstance(text, str)]
    return any(match is not None and not _VARIABLE.search(match[1]) for match in found)


# -- secrets ----------------------------------------------------------------------------------------------


def variables_in(target: Json) -> list[str]:
    """The variables of the environment that a target names as ``${NAME}``."""
    texts = target if isinstance(target, list) else [target]
    return [name for text in texts if isinstance(text, str) for name in _VARIABLE.findall(text)]


def expanded(target: Json, environment: Mapping[str, str]) -> Json:
    """A target with its variables put in; `KeyError` names one that is not set."""
    if isinstance(target, list):
        return [expanded(part, environment) for part in target]
    if not isinstance(target, str):
        return target
    return _VARIABLE.sub(lambda match: environment[match[1]], target)


def secrets_of(target: Json, environment: Mapping[str, str]) -> frozenset[str]:
    """Every piece of a target that may be a secret: what was put in, and what an address consists of."""
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
    return frozenset(piece for piece in found if len(piece) >= _SHORTEST_SECRET)


def redacted(text: str, secrets: frozenset[str]) -> str:
    """A text in which every secret is masked."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, _MASK)
    return text


def label_of(recipient: Recipient) -> str:
    """A recipient as messages and logs name it: never more than the scheme of an address."""
    target = recipient.target if isinstance(recipient.target, str) else ""
    scheme, found, _ = target.partition("://")
    how = f"{scheme}://…" if found and re.fullmatch(r"[\w+.-]+", scheme) else recipient.kind
    where = "workspace.yaml" if recipient.source == WORKSPACE else "the config"
    return f"{recipient.key} of {where} ({how})"


# -- how it reads -----------------------------------------------------------------------------------------


def span(seconds: float) -> str:
    """A length of time for people."""
    whole = int(seconds)
    for unit, length, below in (("d", 86_400, 3_600), ("h", 3_600, 60), ("min", 60, 1)):
        if whole >= length:
            rest, name = whole % length // below, {3_600: "h", 60: "min", 1: "s"}[below]
            return f"{whole // length} {unit} {rest} {name}" if rest else f"{whole // length} {unit}"
    return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"  # noqa: PLR2004  # finer where it is short


def text_of(news: News) -> str:
    """The body of a message: what happened, where to look, and the last lines of the log."""
    facts = [
        news.reason,
        f"Task {news.task}, start {news.tries}" if news.task and news.tries else None,
        f"Attempt {news.attempt}" if news.attempt else None,
        f"After {span(news.elapsed_s)}" if news.elapsed_s is not None else None,
        ", ".join(f"{count} {place}" for place, count in news.counts.items()) or None,
        f"Output: {news.output}" if news.output else f"Workspace: {news.workspace}",
        f"On: {news.host}" if news.host else None,
        f"Dashboard: {news.dashboard}" if news.dashboard else None,
    ]
    lines = [fact for fact in facts if fact]
    if news.log:
        lines += ["", "The last lines of its log:", *news.log]
    return "\n".join([*lines, "", f"Message {news.id}"])


def title_of(kind: NewsKind, run: str, task: str | None, reason: str | None) -> str:
    """What happened to a run, in one line."""
    match kind:
        case NewsKind.COMPLETED:
            return f"{run} completed"
        case NewsKind.FAILED:
            return f"{run}: task {task} failed and will be tried again"
        case NewsKind.GAVE_UP:
            return f"{run} failed: {_short(reason or 'no reason was given')}"
        case NewsKind.STUCK:
            return f"{run} seems stuck: {_short(reason or 'it is silent')}"
        case _:
            return run


def _short(text: str, most: int = 150) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


def unknown_kind(kind: str, known: list[str]) -> Fault:
    """The fault of an entry whose notifier nobody has."""
    return Fault(f"there is no notifier {quoted(kind)}", f"Choose from: {', '.join(known)}")
