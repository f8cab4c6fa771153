"""`callback`, and a config's ``callbackUrl``: an HTTP POST of the news as one JSON object.

Besides the fields of the news it holds those that callbacks of GenePlexus's job manager were meant to have:
``jobname``, ``status`` and ``status_code``.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

from job_orchestration.model.errors import NotifierError
from job_orchestration.model.news import NewsKind
from job_orchestration.rules import notifying

if TYPE_CHECKING:
    from job_orchestration.model.news import News
    from job_orchestration.model.task import Json

TIMEOUT: Final = 20.0
"""Seconds that a server may be silent."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Has a redirection be an error: a POST that is sent elsewhere would become a GET without its body."""

    def redirect_request(self, *_: Any) -> None:
        """Follow none."""


class CallbackNotifier:
    """Posts the news to an address; any answer of 2xx is success.

    Args:
        target: the address; ``{run}`` and ``{name}`` in it become the names of the run and of its config.

    Raises:
        NotifierError: it is not an address of http or https.
    """

    def __init__(self, target: Json) -> None:
        fault = notifying.fault_of_url(target)
        if fault is not None or not isinstance(target, str) or not urlsplit(target).hostname:
            raise NotifierError(*(fault or ("this is not an address", "Write one with http:// or https://")))
        self._url = target

    def tell(self, news: News) -> None:
        """Post it.

        Raises:
            NotifierError: the server could not be reached, or did not take it.
        """
        url = self._url
        for name, value in (("run", news.run), ("name", news.config)):
            url = url.replace(f"{{{name}}}", quote(value or "", safe=""))
        code, status = _former(news)
        content = {**news.as_json(), "jobname": news.config, "status": status, "status_code": code}
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Idempotency-Key": news.id,
            "User-Agent": "job_orchestration",
        }
        request = urllib.request.Request(url, json.dumps(content).encode(), headers, method="POST")  # noqa: S310  # the scheme was checked
        opener = urllib.request.build_opener(_NoRedirects)
        try:
            with opener.open(request, timeout=TIMEOUT):
                pass
        except urllib.error.HTTPError as error:
            error.close()
            raise NotifierError(f"The server answered with code {error.code} ({error.reason})") from None
        except (OSError, ValueError) as error:
            why = getattr(error, "reason", None) or error
            raise NotifierError(f"The server cannot be reached: {why}") from None


def _former(news: News) -> tuple[int, str]:
    """The status code and word of GenePlexus's job manager."""
    match news.event:
        case NewsKind.COMPLETED:
            return 200, "Completed"
        case NewsKind.GAVE_UP if news.outcome == "timeout":
            return 504, "Timeout"
        case NewsKind.GAVE_UP:
            return 500, "Failed"
        case _:
            return 202, "Accepted"
