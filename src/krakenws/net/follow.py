"""The life of one order (`--follow`): its part of openOrders and ownTrades, and how it ended.

The streams stand before the order is sent, so that nothing of it is missed. What comes before its id is known
is held back. After a lost connection the new snapshots tell: an order that is not open any more has ended,
and its fills say whether it was filled. If they do not, REST is asked, when there is an API key: at once and
at the times of look-ups, as it may lag. Else how it ended is not known.
"""

from __future__ import annotations

from time import monotonic

from krakenws.core.events import Disconnected, Refused, Reply, Subscribed, Unanswered, Update
from krakenws.core.events import Rejected as Rejection
from krakenws.core.inquiry import Question, about_order
from krakenws.errors import KrakenWSError, OutcomeUnknown, RequestRejected
from krakenws.net.lookups import CHANNELS
from krakenws.net.poller import READ, Poller

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from krakenws.core.events import Event
    from krakenws.net.lookups import Ask
    from krakenws.net.stop import Signals

FILLED, CANCELED, EXPIRED = "closed", "canceled", "expired"
_ENDS = {FILLED, CANCELED, EXPIRED}


class Follow:
    """One order that is followed.

    Attributes:
        order_id: the exchange's id of it, "" until it is known.
        over: nothing more is to come: it has ended, or there is no such order.
    """

    __slots__ = (
        "_fills",
        "_held",
        "_live",
        "_missed",
        "_qty",
        "_reason",
        "_snapshots",
        "_status",
        "order_id",
        "over",
    )

    def __init__(self) -> None:
        self.order_id = ""
        self.over = False
        self._live: set[str] = set()
        self._held: list[Update] = []
        self._missed = False
        self._snapshots: dict[str, bool] = {}
        self._fills: dict[str, str] = {}
        self._status = ""
        self._qty = ""
        self._reason = ""

    @property
    def ready(self) -> bool:
        """Whether both streams stand, so that the order may be sent."""
        return self._live.issuperset(CHANNELS)

    def heed(self, events: Sequence[Update | Event]) -> list[Update | Event]:
        """Return what is told of the order: the answer, and its part of the streams."""
        told: list[Update | Event] = []
        for event in events:
            if isinstance(event, Update):
                self._held.append(event)
                told += self._release()
                continue
            told.append(event)
            if isinstance(event, Reply):
                self.order_id = str(event.result.get("order_id", ""))
                self.over = self.over or not self.order_id
                self._missed = self._missed or not self.ready  # of an earlier run
                told += self._release()
            elif isinstance(event, Rejection | Unanswered):
                self.over = True
            elif isinstance(event, Subscribed):
                self._live.add(event.channel)
            elif isinstance(event, Refused):
                self.over = True
            elif isinstance(event, Disconnected):
                self._missed = True
                self._snapshots.clear()
        return told

    def _release(self) -> list[Update]:
        if not self.order_id:
            return []
        held, self._held = self._held, []
        return [told for update in held if (told := self._part(update)) is not None]

    def _part(self, update: Update) -> Update | None:
        """Return what an update says of the order, None if it says nothing."""
        channel = update.route.channel
        own = [
            {name: fields}
            for part in update.body
            if isinstance(part, dict)
            for name, fields in part.items()
            if isinstance(fields, dict)
            and self.order_id == (fields.get("ordertxid") or name)
            and name not in self._fills  # a snapshot repeats them
        ]
        for part in own:
            for name, fields in part.items():
                self._learn(channel, name, fields)
        if update.snapshot:
            self._snapshots[channel] = bool(own)
        self._look_whether_over()
        if not own:
            return None
        return Update(update.route, update.frame, update.received_ns, update.snapshot, None, own)

    def _learn(self, channel: str, name: str, fields: dict[str, Any]) -> None:
        if channel == "ownTrades":
            self._fills[name] = str(fields.get("vol", "0"))
            return
        self._status = str(fields.get("status") or self._status)
        self._qty = str(fields.get("vol") or self._qty)
        self._reason = str(fields.get("cancel_reason") or self._reason)

    def _look_whether_over(self) -> None:
        if self._status in _ENDS:
            self.over = True
        elif self._missed and len(self._snapshots) == len(CHANNELS) and not self._snapshots["openOrders"]:
            self.over = True
            self._status = FILLED if self._is_filled() else ""

    def _is_filled(self) -> bool:
        from decimal import Decimal

        try:
            return bool(self._qty) and sum(map(Decimal, self._fills.values())) >= Decimal(self._qty)
        except ArithmeticError:
            return False

    @property
    def ended_unseen(self) -> bool:
        """Whether the order has ended and no stream told how."""
        return bool(self.order_id) and self.over and not self._status

    def look_back(
        self, ask: Ask, after_s: Sequence[float], stop: Signals, note: Callable[[str], None]
    ) -> None:
        """Ask REST how the order ended; blocks until that is known, no look is left, or a signal comes.

        Args:
            ask: makes a REST call.
            after_s: when to look, in seconds from now.
            stop: signals.
            note: takes a sentence for people.
        """
        question = about_order(self.order_id)
        began = monotonic()
        poller = Poller()
        poller.watch(0, ((stop.wakeup, READ),))
        for at, seconds in enumerate(after_s, 1):
            while not stop.set and (left_s := began + seconds - monotonic()) > 0:
                if poller.wait(left_s):
                    stop.heard()
            if stop.set:
                return
            said = self._ask(ask, question)
            if self._status:
                note(f"{self.order_id}: {self._status} (found: {question.place})")
                return
            note(f"{self.order_id}: how it ended: look {at} of {len(after_s)}: {said}")

    def _ask(self, ask: Ask, question: Question) -> str:
        """Learn what REST knows of the order's end; return what it did not tell."""
        try:
            found = ask(question)
        except KrakenWSError as error:
            return str(error)
        fields = found.get(self.order_id) if isinstance(found, dict) else None
        if isinstance(fields, dict) and fields.get("status") in _ENDS:
            self._status = str(fields["status"])
            self._reason = str(fields.get("reason") or "")
        return "not in REST"

    def judge(self) -> None:
        """Raise what the order ended with, unless it was filled.

        Raises:
            RequestRejected: it was cancelled or has expired.
            OutcomeUnknown: it has not ended, or nobody told how.
        """
        if not self.order_id or self._status == FILLED:
            return
        if self._status in {CANCELED, EXPIRED}:
            why = f" ({self._reason})" if self._reason else ""
            how = "was" if self._status == CANCELED else "has"
            raise RequestRejected(f"{self.order_id} {how} {self._status}{why}", self._status)
        if self.over:
            raise OutcomeUnknown(
                f"{self.order_id} ended while nobody listened, and how is not known: look at your trades"
            )
        raise OutcomeUnknown(f"{self.order_id} was accepted and has not ended: it is not followed any more")
