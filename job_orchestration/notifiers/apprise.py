"""`to`: mail, Slack, Teams and a hundred more, by the addresses of apprise (the extra ``[notify]``)."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING, Any

from job_orchestration.model.errors import NotifierError
from job_orchestration.model.news import NewsKind
from job_orchestration.rules import notifying

if TYPE_CHECKING:
    from job_orchestration.model.news import News
    from job_orchestration.model.task import Json

_TYPES = {NewsKind.COMPLETED: "success", NewsKind.GAVE_UP: "failure", NewsKind.FAILED: "warning"}


class AppriseNotifier:
    """Sends a message to an address, or to several.

    Args:
        target: the address, or a list of them.

    Raises:
        NotifierError: apprise is not installed, or can do nothing with an address.
    """

    def __init__(self, target: Json) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its services import what newer Pythons warn of
            self._apprise = _imported()
            self._services = self._apprise.Apprise()
            for address in target if isinstance(target, list) else [target]:
                self._add(str(address))

    def _add(self, address: str) -> None:
        scheme, found, _ = address.partition("://")
        if not found:
            raise NotifierError(
                "this is no address such as mailto://user:${PASSWORD}@host",
                "See https://appriseit.com for the addresses of all services; a program is named by command",
            )
        if scheme.lower() not in self._apprise.NotificationManager():
            raise NotifierError(
                f"apprise knows no service {scheme}://", "See https://appriseit.com for those it knows"
            )
        service = self._apprise.Apprise.instantiate(address, suppress_exceptions=True)
        if not service or not self._services.add(service):
            raise NotifierError(
                f"the address {scheme}://… lacks something that this service needs",
                f"See https://appriseit.com for the addresses of {scheme}",
            )

    def tell(self, news: News) -> None:
        """Send it.

        Raises:
            NotifierError: the service did not take it.
        """
        logging.getLogger("apprise").propagate = False
        with self._apprise.LogCapture(level=logging.WARNING, fmt="%(message)s") as said:
            sent = self._services.notify(
                title=news.title,
                body=notifying.text_of(news),
                notify_type=_TYPES.get(news.event, "info"),
                body_format="text",
            )
            why = " ".join(said.getvalue().split())
        if not sent:
            raise NotifierError(why or "The service did not take the message", "")


def _imported() -> Any:
    try:
        import apprise
    except ImportError:
        raise NotifierError(
            "apprise is not installed, which sends to such addresses",
            "Install it with: pip install 'job-orchestration[notify]'. Or name a program by command",
        ) from None
    return apprise
