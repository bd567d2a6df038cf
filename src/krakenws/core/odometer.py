"""The rate odometer: what the account's rate counter on each pair will be, foretold from what we send.

A request is counted when it leaves, as the exchange will count it, and what its answer says is put right: a
refusal costs only the fixed part, one for the rate itself nothing, one of the session never came that far.
Where an order's age is not known, it is taken for old. `ratecount` of openOrders corrects what others have
done with the account meanwhile; `maxratecount` tells the ceiling and with it the decay.

A counter begins with what the journal has of the last minutes, whichever process sent it, and has the lowest
tier's limits until others are told. Nothing is ever held back; it is only said.

All times are wall-clock microseconds.

Source: v1.md section 11.
"""

from __future__ import annotations

from krakenws.core.catalog import Bound, find
from krakenws.core.events import Answered, Rejected, Reply, Subscribed, Update, rated
from krakenws.core.intents import ACCEPTED, REJECTED
from krakenws.core.ratecounter import (
    ADD,
    AMEND,
    CANCEL,
    CEILINGS,
    DECAYS_CENTIPOINTS_S,
    EDIT,
    POINT,
    RATE_LIMIT_EXCEEDED,
    Counter,
    cost,
)
from krakenws.core.v1_entries import ENTRIES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from krakenws.core.events import Event
    from krakenws.core.intents import Intent

_TRANSACTIONS = {"addOrder": ADD, "amendOrder": AMEND, "editOrder": EDIT, "cancelOrder": CANCEL}
_ENDED = {"closed", "canceled", "expired"}
_UNKNOWN_ORDER = "EOrder:Unknown order"
_NEVER_COUNTED = (
    "ESession:",
    "EAuth:",
    "EAPI:",
    "EGeneral:Permission denied",
    "EQuery:",
    "EService:Unavailable: not sent",
)
"""Refusals from before the rate counter: of the session, of a pair that has none, or by ourselves."""
_MOST_ORDERS = 1000
_RECALLED_NS = 300 * 1_000_000_000
"""What is older counts no more: counters have decayed, no order is young. Source: v1.md section 11."""


_OF_A_NEW_ORDER = cost(ADD)
_RECALLED = -1
"""The number of requests of before, which no request has."""


def _nothing(_sentence: str) -> None:
    """Say nothing."""


class _Order:
    """What is known of an order that may still be changed.

    Attributes:
        pair: its pair.
        changed_us: when it was placed or last amended.
        names: all it is called by: its id, userref, `cl_ord_id`.
    """

    __slots__ = ("changed_us", "names", "pair")

    def __init__(self, pair: str, changed_us: int, names: set[str]) -> None:
        self.pair = pair
        self.changed_us = changed_us
        self.names = names


class _Charge:
    """What one transaction costs, and whether it was counted: not when it would have been refused."""

    __slots__ = ("counted", "pair", "penalty", "transaction", "units")

    def __init__(self, pair: str, transaction: str, age_us: int) -> None:
        self.pair = pair
        self.transaction = transaction
        fixed, self.penalty = _OF_A_NEW_ORDER if transaction == ADD else cost(transaction, age_us)
        self.units = fixed + self.penalty
        self.counted = False


class Odometer:
    """The counters of one account.

    Args:
        warn: takes a sentence about an order that is about to be refused.
        tell: takes one about each counter that an answer has settled, or None.

    Attributes:
        ceiling: `maxratecount`, None before it was told.
        has_recalled: whether it knows what was sent before.
    """

    def __init__(self, warn: Callable[[str], None], tell: Callable[[str], None] | None = None) -> None:
        self.ceiling: int | None = None
        self.has_recalled = False
        self._warn = warn
        self._tell = tell
        self._counters: dict[str, Counter] = {}
        self._told: set[str] = set()
        self._orders: dict[str, _Order] = {}
        self._open: dict[int, tuple[Bound, list[_Charge]]] = {}

    def count(self, pair: str, at_us: int) -> int:
        """Return the counter of a pair as `ratecount` would tell it."""
        return self._counter(pair, at_us).count(at_us)

    # ---- what was done before

    def recall(self, earlier: Callable[[int], Iterable[Intent]], now_ns: int) -> None:
        """Count what was sent in the last minutes, by whichever process; of it nothing is said.

        Args:
            earlier: gives what was sent since a time, oldest first.
            now_ns: the time, ns since 1970 as there.
        """
        sent = earlier(now_ns - _RECALLED_NS)
        self.has_recalled = True
        says, self._warn, self._tell = (self._warn, self._tell), _nothing, None
        for intent in sent:
            entry = find(ENTRIES, intent.method)
            assert entry is not None  # noqa: S101 - it was sent
            self.sending(Bound(entry, dict(intent.sent)), _RECALLED, intent.created_ns // 1000)
            at_ns, method = intent.created_ns, intent.method
            if intent.state == REJECTED:
                self._heed(Rejected(at_ns, method, _RECALLED, intent.error))
            elif intent.state == ACCEPTED:
                self._heed(Reply(at_ns, method, _RECALLED, intent.result))
            self._open.pop(_RECALLED, None)
        self._warn, self._tell = says

    # ---- what we do

    def sending(self, bound: Bound, req_id: int, at_us: int) -> None:
        """Count a request that leaves; warn if it will be refused."""
        transaction = _TRANSACTIONS.get(bound.entry.name)
        if transaction is None:
            return
        charges = []
        for pair, changed_us in self._touched(transaction, bound.values):
            charge = _Charge(pair, transaction, at_us - changed_us)
            charges.append(charge)
            counter = self._counter(pair, at_us)
            if counter.fits(charge.units):
                counter.units += charge.units
                charge.counted = True
            else:
                self._foretell_refusal(bound.entry.name, charge, counter)
        self._open[req_id] = bound, charges

    def _touched(self, transaction: str, values: Mapping[str, Any]) -> Iterable[tuple[str, int]]:
        """Return pair and last change of each order that a request touches, as far as they are known."""
        pair = str(values.get("pair", ""))
        if transaction == ADD:
            return [(pair, 0)]
        orders = self._named(values)
        if transaction == EDIT or (pair and not orders):
            return [(pair, max((order.changed_us for order in orders), default=0))]
        return [(order.pair, order.changed_us) for order in orders]

    def _named(self, values: Mapping[str, Any]) -> list[_Order]:
        names: set[str] = set()
        for name in ("txid", "orderid", "cl_ord_id"):
            given = values.get(name, ())
            names |= {str(one) for one in (given if isinstance(given, list) else [given])}
        return [order for order in self._orders.values() if order.names & names] if names else []

    def _forgive(self, charge: _Charge, units: int) -> None:
        if charge.counted:
            self._counters[charge.pair].forgive(units)

    def _foretell_refusal(self, method: str, charge: _Charge, counter: Counter) -> None:
        will, of = ("will", "") if self.ceiling else ("may", " (of the lowest tier)")
        self._warn(
            f"{method} {will} be refused by the rate limit: the counter of {charge.pair} is about"
            f" {-(-counter.units // POINT)} of {counter.ceiling}{of}, this costs {charge.units / POINT:g},"
            f" and there is room in {counter.room_in_s(charge.units):.1f} s"
        )

    # ---- what is answered and told

    def heed(self, events: Sequence[Update | Event]) -> list[Update | Event]:
        """Take what happened; return it with the counter in each answer."""
        return [*map(self._heed, events)]

    def _heed(self, event: Update | Event) -> Update | Event:
        at_us = event.received_ns // 1000
        if isinstance(event, Update):
            if event.route.entry.rows == "Order":
                self._update(event.body, at_us, snapshot=event.snapshot)
        elif isinstance(event, Subscribed):
            ceiling = event.params.get("maxratecount")
            if isinstance(ceiling, int) and ceiling > 0:
                self.limit(ceiling)
        elif isinstance(event, Answered):
            return self._answer(event, at_us)
        return event

    def limit(self, ceiling: int) -> None:
        """Know the account's ceiling, in points."""
        self.ceiling = ceiling
        for counter in self._counters.values():
            counter.limit(ceiling, _decay(ceiling))

    def _answer(self, event: Answered, at_us: int) -> Answered:
        if event.req_id not in self._open:
            return event
        bound, charges = self._open.pop(event.req_id)
        for charge in charges:
            self._counter(charge.pair, at_us)
        if isinstance(event, Rejected):
            self._refused(event.error, charges)
        elif isinstance(event, Reply):
            for charge in charges:
                if not charge.counted:  # it was taken in spite of us
                    self._counters[charge.pair].units += charge.units
            if event.validated is None:
                self._accepted(bound, event.result, at_us)
        if not charges:
            return event
        fullest = charges[0].pair
        if len(charges) > 1:
            fullest = max((charge.pair for charge in charges), key=lambda pair: self._counters[pair].units)
        count = self._counters[fullest].points
        if self._tell is not None:
            of = f" of {self.ceiling}" if self.ceiling else ""
            self._tell(f"rate counter of {fullest}: {count}{of}")
        known = {"ceiling": self.ceiling} if self.ceiling else {}
        return rated(event, {"symbol": fullest, "counter": count, **known})

    def _refused(self, error: str, charges: Iterable[_Charge]) -> None:
        for charge in charges:
            if error.startswith(RATE_LIMIT_EXCEEDED):
                self._forgive(charge, charge.units)
                counter = self._counters[charge.pair]
                counter.units = max(counter.units, counter.ceiling * POINT - charge.units + 1)
            elif error.startswith(_NEVER_COUNTED) or (
                charge.transaction == AMEND and error.startswith(_UNKNOWN_ORDER)
            ):
                self._forgive(charge, charge.units)
            else:
                self._forgive(charge, charge.penalty)

    def _accepted(self, bound: Bound, result: Mapping[str, Any], at_us: int) -> None:
        values, transaction = bound.values, _TRANSACTIONS[bound.entry.name]
        order_id = str(result.get("order_id") or "")
        if transaction == AMEND:
            for order in self._named(values):
                order.changed_us = at_us
        elif transaction == CANCEL:
            for order in self._named(values):
                self._forget(order)
        elif order_id:
            names = {str(values[name]) for name in ("userref", "newuserref", "cl_ord_id") if name in values}
            self._know(order_id, str(values["pair"]), at_us, names)

    def _know(self, order_id: str, pair: str, changed_us: int, names: set[str]) -> None:
        order = self._orders.get(order_id)
        if order is None:
            if len(self._orders) >= _MOST_ORDERS:
                del self._orders[next(iter(self._orders))]
            order = self._orders[order_id] = _Order(pair, changed_us, {order_id})
        order.names |= names

    def _forget(self, order: _Order) -> None:
        self._orders = {name: known for name, known in self._orders.items() if known is not order}

    def _update(self, body: object, at_us: int, *, snapshot: bool) -> None:
        """Take an openOrders frame; what is no order in it says nothing."""
        for part in body if isinstance(body, list) else ():
            for order_id, fields in part.items() if isinstance(part, dict) else ():
                if isinstance(fields, dict):
                    self._order(order_id, fields, at_us, snapshot=snapshot)

    def _order(self, order_id: str, fields: Mapping[str, Any], at_us: int, *, snapshot: bool) -> None:
        descr = fields.get("descr")
        pair = descr.get("pair") if isinstance(descr, dict) else None
        if isinstance(pair, str):
            names = {str(fields[name]) for name in ("userref", "cl_ord_id") if fields.get(name)}
            opened_us = _microseconds(fields.get("opentm")) if snapshot else at_us
            self._know(order_id, pair, min(opened_us, at_us), names)
        order = self._orders.get(order_id)
        if order is None:
            return
        if fields.get("amended") and not snapshot:
            order.changed_us = at_us
        count = fields.get("ratecount")
        if isinstance(count, int | str) and str(count).isdecimal():
            self._correct(order.pair, int(count), at_us, snapshot=snapshot)
        if fields.get("status") in _ENDED:
            self._forget(order)

    def _correct(self, pair: str, count: int, at_us: int, *, snapshot: bool) -> None:
        """Believe what is told, where it cannot be what we count: whole points, some of ours on their way.

        A snapshot's figure is not said to be of the order's own pair: it can only be the most there is, and
        is believed where nothing better is known.
        """
        counter = self._counter(pair, at_us)
        on_its_way = sum(
            charge.units
            for _, charges in self._open.values()
            for charge in charges
            if charge.pair == pair and charge.counted
        )
        least, most = -(-max(0, counter.units - on_its_way) // POINT), -(-counter.units // POINT)
        if count < least or (count > most and not (snapshot and pair in self._told)):
            counter.units = count * POINT + on_its_way
        self._told.add(pair)

    def _counter(self, pair: str, at_us: int) -> Counter:
        counter = self._counters.get(pair)
        if counter is None:
            ceiling = self.ceiling or CEILINGS["starter"]
            counter = self._counters[pair] = Counter(ceiling, _decay(ceiling))
        counter.advance(at_us)
        return counter


def _decay(ceiling: int) -> int:
    """Return the decay of a ceiling; of one that is not documented, the next lower one's."""
    known = [one for one in DECAYS_CENTIPOINTS_S if one <= ceiling]
    return DECAYS_CENTIPOINTS_S[max(known, default=min(DECAYS_CENTIPOINTS_S))]


def _microseconds(text: object) -> int:
    """Return the time that `1700076648.883709` says, 0 for none."""
    seconds, _, fraction = str(text).partition(".")
    if not (seconds + fraction).isdecimal():
        return 0
    return int(seconds) * 1_000_000 + int(fraction[:6].ljust(6, "0"))
