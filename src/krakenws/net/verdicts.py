"""How a run ends: what was answered, refused and lost, and the one exception that says so."""

from __future__ import annotations

from krakenws.core.events import Rejected, Unanswered
from krakenws.errors import (
    ConnectionFailed,
    CredentialsError,
    KrakenWSError,
    OutcomeUnknown,
    RequestRejected,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from krakenws.core.events import Answered, Refused
    from krakenws.errors import PolicyRefused
    from krakenws.net.trading import Trading

_AUTH_ERRORS = ("ESession:", "EGeneral:Permission denied", "EAPI:Invalid key", "EAuth:", "EAccount:")


class Verdicts:
    """What a run was told, in order.

    Args:
        trading: its trading commands, None when it has none.
    """

    def __init__(self, trading: Trading | None) -> None:
        self._trading = trading
        self._answered: list[Answered] = []
        self._refused: list[Refused] = []
        self._forbidden: PolicyRefused | None = None

    def answered(self, event: Answered) -> None:
        """Take the end of a request."""
        self._answered.append(event)

    def forget(self) -> None:
        """Forget the answers so far."""
        self._answered.clear()

    def refused(self, event: Refused) -> None:
        """Take a subscription that the exchange refused."""
        self._refused.append(event)

    def forbidden(self, error: PolicyRefused) -> None:
        """Take a policy's no to orders that were therefore not sent, unlike other commands."""
        self._forbidden = self._forbidden or error

    @property
    def traded(self) -> bool:
        """Whether a trading command left: whatever else went wrong, the same line must not be tried again."""
        return self._trading is not None and self._trading.traded

    def judge(
        self, failures: Sequence[ConnectionFailed], *, streaming: bool, unsent_is_failure: bool = True
    ) -> None:
        """Raise what the run ended with, the gravest first; return when it ended well.

        Args:
            failures: why connections ended for good.
            streaming: whether a subscription is still wanted, or none ever was.
            unsent_is_failure: whether a command that was not sent is one.

        Raises:
            KrakenWSError: its `exit_code` is the process's.
        """
        self.judge_unknown()
        if self._forbidden is not None:  # what became of the others was told
            raise self._forbidden
        for event in self._answered:
            if isinstance(event, Rejected):
                raise refusal(f"{event.method} {event.order}", event.error)
        for failure in failures:
            raise failure
        waiting = [bound.entry.name for bound in self._trading.waiting] if self._trading else []
        if waiting and unsent_is_failure and not self._refused:
            raise ConnectionFailed(f"{waiting[0]} was not sent: stopped before the connection was ready")
        for event in self._answered:
            if isinstance(event, Unanswered):
                raise ConnectionFailed(f"{event.method}: {event.hint}")
        if self._refused and not streaming:
            last = self._refused[-1]
            raise refusal(f"{last.channel} {last.symbol}", last.error)

    def judge_unknown(self) -> None:
        """Raise if an order left and has no answer: that outweighs everything (interface.md section 4).

        Raises:
            OutcomeUnknown: it did.
        """
        for event in self._answered:
            if isinstance(event, Unanswered) and event.method != "ping":
                raise OutcomeUnknown(f"{event.method}: outcome unknown: {event.hint}")
        for name, advice in self._trading.owed_in_words() if self._trading else []:
            raise OutcomeUnknown(
                f"{name} was sent, and its outcome is unknown: the run ended before it was answered; {advice}"
            )


def refusal(what: str, error: str, kind: type[RequestRejected] = RequestRejected) -> KrakenWSError:
    """Return the exception that an exchange's no amounts to; `error` as sent."""
    message = f"{what.strip() or 'request'} refused: {error}"
    return CredentialsError(message) if error.startswith(_AUTH_ERRORS) else kind(message, error)
