"""The records of the users' orders, kept from the engine's events alone.

Whatever an order's owner asked for, what became of it is what the events say, in their order: each changes
the record and is told to whoever listens. The money has moved before (see `settlement`).

Source: v1.md sections 7.1 to 7.3.
"""

from __future__ import annotations

from krakenws.exchange import private
from krakenws.exchange.events import (
    Accepted,
    Amended,
    Canceled,
    Closed,
    CloseOrderDue,
    Expired,
    Filled,
    Triggered,
)
from krakenws.exchange.ledger import MARGIN, TRADE, LedgerEntry
from krakenws.exchange.records import CANCELED, CLOSED, EXPIRED, make_fill

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from krakenws.exchange.events import EngineEvent
    from krakenws.exchange.files import File
    from krakenws.exchange.ledger import Posting
    from krakenws.exchange.records import FillRecord, OrderRecord
    from krakenws.exchange.reports import Reports
    from krakenws.exchange.settlement import PairSettlement

    Fields = Mapping[str, object]


class Bookkeeping:
    """The records.

    Args:
        files: by account name.
        settlements: by pair (wsname).
        reports: who is told.
        new_id: makes the ids of ledger entries.
    """

    def __init__(
        self,
        files: Mapping[str, File],
        settlements: Mapping[str, PairSettlement],
        reports: Reports,
        new_id: Callable[[str], str],
    ) -> None:
        self._files = files
        self._settlements = settlements
        self._reports = reports
        self._new_id = new_id
        self._asked: dict[str, Fields] = {}

    def register(self, record: OrderRecord, asked: Fields) -> None:
        """Keep an order on file until it ends, and the fields it was asked for with."""
        self._files[record.owner].live[record.order_id] = record
        self._settlement(record).live[record.order_id] = record
        self._asked[record.order_id] = asked

    def asked(self, record: OrderRecord) -> Fields:
        """Return the fields that a live order was asked for with."""
        return self._asked[record.order_id]

    def drop(self, record: OrderRecord) -> None:
        """Forget an order, and what it holds: it has ended, or never was one."""
        file = self._files[record.owner]
        file.account.release(record.order_id)
        file.live.pop(record.order_id, None)
        self._settlement(record).live.pop(record.order_id, None)
        self._asked.pop(record.order_id, None)

    def accept(self, record: OrderRecord, now_us: int) -> None:
        """The engine has taken an order in."""
        if record.terms.start_us is None:
            self._reports.order(record, private.pending, now_us)
        record.opened()
        self._reports.order(record, private.opened, now_us)

    def end(self, record: OrderRecord, status: str, now_us: int, reason: str = "") -> None:
        """An order has ended."""
        record.end(status, now_us, reason)
        self.drop(record)
        self._files[record.owner].ended.append(record)
        self._reports.truth(
            "Ended",
            record,
            now_us,
            status=status,
            reason=reason,
            qty=record.qty,
            filled=record.filled,
            cost=record.cost,
            fee=record.fee,
        )
        self._reports.order(record, private.ended, now_us)

    def digest(
        self, pair: str, events: Sequence[EngineEvent], now_us: int
    ) -> list[tuple[OrderRecord, CloseOrderDue]]:
        """Take in what one transaction did; return the conditional closes due, each with its parent."""
        live = self._settlements[pair].live
        fills: dict[str, list[tuple[FillRecord, bool]]] = {}
        closes: list[tuple[OrderRecord, CloseOrderDue]] = []
        for event in events:
            if isinstance(event, Filled):
                for order_id, taker in ((event.maker_id, False), (event.taker_id, True)):
                    if order_id in live:
                        fill = self._filled(live[order_id], event, taker=taker)
                        fills.setdefault(fill.order.owner, []).append((fill, taker))
            elif isinstance(event, CloseOrderDue):
                if event.parent_id in live:
                    closes.append((live[event.parent_id], event))
            elif isinstance(event, Accepted):
                record = live.get(event.order.order_id)
                if record is not None:
                    self.accept(record, now_us)
            elif isinstance(event, Amended | Triggered | Closed | Canceled | Expired):
                record = live.get(event.order_id)
                if record is not None:
                    self._changed(record, event, now_us)
        for owner, theirs in fills.items():
            self._reports.fills(owner, theirs)
        return closes

    def _changed(
        self,
        record: OrderRecord,
        event: Amended | Triggered | Closed | Canceled | Expired,
        now_us: int,
    ) -> None:
        match event:
            case Amended():
                record.amend(event.qty, event.limit_price, event.trigger_price, now_us)
                self._reports.order(record, _amended, now_us)
            case Triggered():
                record.trigger(event.trigger_price, event.limit_price)
                self._reports.order(record, private.triggered, now_us)
            case Closed():
                self.end(record, CLOSED, now_us)
            case Canceled():
                self.end(record, CANCELED, now_us, event.reason)
            case Expired():
                self.end(record, EXPIRED, now_us)

    def _filled(self, record: OrderRecord, event: Filled, *, taker: bool) -> FillRecord:
        trade_id, settlement = self._settlement(record).settled.popleft()
        record.fill(event.price, event.qty, settlement)
        fill = make_fill(trade_id, record, event.price, event.qty, settlement, at_us=event.time_us)
        self._files[record.owner].fills.append(fill)
        self._reports.truth(
            "Settled",
            record,
            event.time_us,
            exec_id=trade_id,
            trade_id=event.trade_id,
            role="taker" if taker else "maker",
            price=event.price,
            qty=event.qty,
            cost=fill.cost,
            fee=fill.fee,
        )
        self._reports.order(record, private.filled, event.time_us)
        kind = MARGIN if record.terms.leverage else TRADE
        self.enter(record.owner, kind, trade_id, settlement.postings, event.time_us)
        return fill

    def enter(
        self, owner: str, kind: tuple[str, str], ref_id: str, postings: Iterable[Posting], at_us: int
    ) -> None:
        """Enter changes of an account's balances in its ledger."""
        entries = [LedgerEntry(self._new_id("L"), ref_id, kind, posting, at_us) for posting in postings]
        self._reports.balances(owner, entries)

    def _settlement(self, record: OrderRecord) -> PairSettlement:
        return self._settlements[record.instrument.wsname]


def _amended(record: OrderRecord, ratecount: int | None) -> bytes:
    return private.amended(record, ratecount=ratecount)
