"""What the exchange's own account of orders proves about a request whose answer is lost.

`Evidence` gathers what private streams and REST say of an account's orders; `judge` tells what that proves
about an intent, or None. Wrongly told is worse than not told, so that

- an order is an intent's if it bears the number that krakenws gave it and no other order has. A number of the
  user's own may stand for many orders: then side, type, pair, volume and time must fit as well, no other
  intent may have the order or be able to have it, and there must be one such order only;
- a cancel is proved by its order being cancelled since, and disproved by its being filled or expired;
- an amendment by the order standing as asked; an edit by the new order, which bears a number of ours;
- cancelAll by a fresh list of all open orders (the stream's: REST may lag) with none from before it, if one
  from before was cancelled since; else it may yet arrive, and cancel what was placed meanwhile;
- the dead man's switch by nothing.

That something is *not* there proves nothing at first: it may be on its way, and REST lags the streams by up
to a minute (quirk P7). After `AGED_NS` it does: a request waits for a minute at most at the exchange
(`deadline`, v1.md 9.1), and for minutes in this machine's network stack if the network was down. Until then
an order that is not found stays unknown. What even then cannot be told is `SETTLED`: nothing that could be
asked will ever tell, which is no refusal.
"""

from __future__ import annotations

from krakenws.core.intents import ACCEPTED, REJECTED, SETTLED
from krakenws.record import record, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any, Protocol

    from krakenws.core.intents import Intent

    class Others(Protocol):
        """What the journal says of other intents (`krakenws.journal.Journal`)."""

        def claimed(self, order_ids: Iterable[str], /) -> set[str]: ...  # noqa: D102
        def pending(self) -> Sequence[Intent]: ...  # noqa: D102


AGED_NS = 15 * 60 * 1_000_000_000
_SKEW_NS = 1_000_000_000
"""How far this machine's clock may be from the exchange's when times of orders are compared."""
_USER_REQUESTED = "User requested"
"""Why an order was cancelled; elsewise it was no cancel. Source: v1.md 7.2, REST ClosedOrders."""
_OVER = frozenset({"canceled", "closed", "expired"})
_OPEN_ORDERS = "/0/private/OpenOrders"
_CLOSED_ORDERS = "/0/private/ClosedOrders"
_QUERY_ORDERS = "/0/private/QueryOrders"
_TRADES_HISTORY = "/0/private/TradesHistory"
_QUERIED = 50
"""Orders that one QueryOrders may name."""


@record
class Question:
    """A signed REST call of a look-up: `path` with `fields`."""

    path: str
    fields: tuple[tuple[str, str], ...] = ()

    @property
    def place(self) -> str:
        """Where an answer was found, for people: `REST OpenOrders`."""
        return f"REST {self.path.rpartition('/')[2]}"


class Evidence:
    """What is known of an account's orders.

    Attributes:
        orders: by id, what the places say of them, as v1 names it; what has ended does not come back.
        places: by id, where each was last found.
        open_ids: all open orders by the stream, which is up to date; None while it is not there.
    """

    __slots__ = ("_fills", "_looked", "open_ids", "orders", "places")

    def __init__(self) -> None:
        self.orders: dict[str, dict[str, Any]] = {}
        self.places: dict[str, str] = {}
        self.open_ids: set[str] | None = None
        self._fills: dict[str, int] = {}
        self._looked: dict[Question, int] = {}

    # ---- streams

    def stream(self, channel: str, body: Any, *, snapshot: bool) -> None:
        """Take the payload of a frame of openOrders or ownTrades; what has no such shape says nothing."""
        entries = [
            (str(name), fields) for part in body if isinstance(part, dict) for name, fields in part.items()
        ]
        if channel == "openOrders":
            if snapshot:
                self.open_ids = set()
            for order_id, fields in entries:
                self._take(order_id, fields, channel)
                self._count(order_id)
        else:
            for _, fields in entries:
                self._take_fill(fields, channel)

    def _count(self, order_id: str) -> None:
        if self.open_ids is None:
            return
        if self.status(order_id) in _OVER:
            self.open_ids.discard(order_id)
        else:
            self.open_ids.add(order_id)

    def streams_lost(self) -> None:
        """What follows on the streams is not known until the next snapshot."""
        self.open_ids = None

    # ---- REST

    def answered(self, question: Question, result: object, asked_ns: int) -> None:
        """Take REST's answer to a question that was asked at a time."""
        if not isinstance(result, dict):
            return
        self._looked[question] = asked_ns
        if question.path == _TRADES_HISTORY:
            for fields in _dict(result.get("trades")).values():
                self._take_fill(fields, question.place)
            return
        found = result.get({_OPEN_ORDERS: "open", _CLOSED_ORDERS: "closed"}.get(question.path, ""), result)
        for order_id, fields in _dict(found).items():
            self._take(str(order_id), fields, question.place)

    def looked_since(self, questions: Iterable[Question], since_ns: int) -> bool:
        """Whether REST has answered all these questions, asked after a time."""
        return all(self._looked.get(question, -1) >= since_ns for question in questions)

    def unexplained(self, since_ns: int) -> list[str]:
        """Return the orders that were filled since and of which nothing else is known."""
        return [name for name, at_ns in self._fills.items() if at_ns >= since_ns and name not in self.orders]

    # ---- orders

    def _take(self, order_id: str, fields: object, place: str) -> None:
        if not isinstance(fields, dict):
            return
        known = self.orders.setdefault(order_id, {})
        told = {name: value for name, value in fields.items() if value is not None}
        if known.get("status") in _OVER:  # REST may lag
            told = {name: value for name, value in told.items() if name not in known}
        known.update(told)
        self.places[order_id] = place

    def _take_fill(self, fields: object, place: str) -> None:
        """A fill names its order; the number of it comes with news only, not with what was before."""
        if not isinstance(fields, dict) or not isinstance(order_id := fields.get("ordertxid"), str):
            return
        self._fills[order_id] = _ns(fields.get("time")) or 0
        marks = {name: fields[name] for name in ("userref", "cl_ord_id") if fields.get(name)}
        if marks and order_id not in self.orders:
            descr = {name: fields.get(name) for name in ("pair", "type", "ordertype")}
            self._take(order_id, {**marks, "descr": descr, "opentm": fields.get("time")}, place)

    def status(self, order_id: str) -> str:
        """Return an order's status, "" when no place told it."""
        return str(self.orders.get(order_id, {}).get("status", ""))


# ---- what to ask


def mark_of(intent: Intent) -> tuple[str, str] | None:
    """Return the number of the order that an intent places, and which kind of number it is."""
    sent = intent.sent
    if intent.method == "addOrder":
        if sent.get("cl_ord_id"):
            return "cl_ord_id", str(sent["cl_ord_id"])
        return ("userref", str(int(sent["userref"]))) if int(sent.get("userref", 0)) else None
    if intent.method == "editOrder" and int(sent.get("newuserref", 0)):
        return "userref", str(int(sent["newuserref"]))
    return None


def is_own(intent: Intent) -> bool:
    """Whether the number of the order is krakenws's, and so no other order's."""
    return not {"userref", "cl_ord_id", "newuserref"} & intent.asked.keys()


def _target(intent: Intent) -> tuple[str, str] | None:
    """Return what names the order of a cancel, an amendment or an edit: the kind of name, and the name."""
    sent = intent.sent
    for name, kind in (("txid", "order_id"), ("orderid", "order_id"), ("cl_ord_id", "cl_ord_id")):
        value = sent.get(name)
        text = str(value[0]) if isinstance(value, list) else value
        if text:
            return ("userref", text) if kind == "order_id" and text.isdigit() else (kind, str(text))
    return None


def about_order(order_id: str) -> Question:
    """Return what to ask about one order."""
    return Question(_QUERY_ORDERS, (("txid", order_id),))


def is_sought(intent: Intent) -> bool:
    """Whether there is any place that could tell what became of an intent: of the switch there is none."""
    return intent.method != "cancelAllOrdersAfter"


def questions(intent: Intent) -> list[Question]:
    """Return what to ask REST about an intent; the answers together are all that REST knows of it."""
    since = (("start", _a_minute_before(intent.created_ns)),)
    asked = [Question(_OPEN_ORDERS)]
    if intent.method == "cancelAll":
        return [*asked, Question(_CLOSED_ORDERS, since)]
    mark = mark_of(intent)
    target = None if intent.method == "addOrder" else _target(intent)
    for name, value in filter(None, (mark, target)):
        if name == "order_id":
            asked.append(about_order(value))
        else:
            own = mark == (name, value) and is_own(intent)
            asked.append(Question(_CLOSED_ORDERS, ((name, value), *(() if own else since))))
    return asked


def more_questions(intents: Sequence[Intent], evidence: Evidence, *, thorough: bool) -> list[Question]:
    """Return what else to ask, given what was seen: which orders fills are of that bear no number.

    With `thorough`, all own trades since, too: costly (auth.md section 6), and asked for last.
    """
    since_ns = [intent.created_ns for intent in intents if mark_of(intent)]
    if not since_ns:
        return []
    asked = []
    if thorough:
        asked.append(Question(_TRADES_HISTORY, (("start", _a_minute_before(min(since_ns))),)))
    unexplained = evidence.unexplained(min(since_ns) - _SKEW_NS)
    if unexplained:
        asked.append(Question(_QUERY_ORDERS, (("txid", ",".join(unexplained[:_QUERIED])),)))
    return asked


# ---- what it proves


def judge(intent: Intent, evidence: Evidence, now_ns: int, others: Others) -> Intent | None:
    """Return an intent with the verdict that the evidence proves, or None."""
    return _JUDGES[intent.method](intent, evidence, now_ns, others)


def _end(
    intent: Intent, state: str, now_ns: int, *, error: str = "", found: str = "", **result: Any
) -> Intent:
    return replace(intent, state=state, error=error, found=found, result=result, settled_ns=now_ns)


def _is_aged(intent: Intent, now_ns: int) -> bool:
    return now_ns >= intent.created_ns + AGED_NS


def _placed(intent: Intent, evidence: Evidence, now_ns: int, others: Others) -> Intent | None:
    mark = mark_of(intent)
    if mark is None:
        error = "it bears no number by which its order could be looked for"
        return _end(intent, SETTLED, now_ns, error=error) if _is_aged(intent, now_ns) else None
    marked = _named(evidence, *mark)
    fitting = marked if is_own(intent) else _only_its(intent, mark, marked, evidence, others)
    if len(fitting) == 1:
        order_id = fitting[0]
        result = {"order_id": order_id}
        if intent.method == "editOrder":
            result["original_order_id"] = intent.sent["orderid"]
        descr = _dict(evidence.orders[order_id].get("descr")).get("order")
        result |= {
            name: str(value)
            for name, value in (("descr", descr), ("status", evidence.status(order_id)))
            if value
        }
        return _end(intent, ACCEPTED, now_ns, found=evidence.places[order_id], **result)
    if not _is_exhausted(intent, evidence):
        return None
    if not marked:
        return _end(intent, REJECTED, now_ns, error=_NOT_PLACED, found="REST OpenOrders and ClosedOrders")
    error = f"which order with {' '.join(mark)} is its own, if any, is not certain"
    return _end(intent, SETTLED, now_ns, error=error, found=evidence.places[marked[0]])


def _only_its(
    intent: Intent, mark: tuple[str, str], marked: list[str], evidence: Evidence, others: Others
) -> list[str]:
    """Return the orders of a number of the user's that can be an intent's and no other's."""
    fitting = [name for name in marked if _fits(intent, evidence.orders[name])]
    if not fitting:
        return []
    rivals = [one for one in others.pending() if not one.is_same(intent) and mark_of(one) == mark]
    taken = others.claimed(fitting)
    return [
        name
        for name in fitting
        if name not in taken and not any(_fits(rival, evidence.orders[name]) for rival in rivals)
    ]


_NOT_PLACED = "not placed: a quarter of an hour later the exchange knows no such order"


def _is_exhausted(intent: Intent, evidence: Evidence) -> bool:
    """Whether REST has told all that it will ever know of an order."""
    return evidence.looked_since(questions(intent)[:2], intent.created_ns + AGED_NS)


def _named(evidence: Evidence, kind: str, name: str) -> list[str]:
    """Return the orders of that name; conditional closes bear their parent's number and are not meant."""
    if kind == "order_id":
        return [name] if name in evidence.orders else []
    return [
        order_id
        for order_id, fields in evidence.orders.items()
        if str(fields.get(kind, "")) == name and not fields.get("refid")
    ]


def _fits(intent: Intent, fields: Mapping[str, Any]) -> bool:
    """Whether an order can be the one that an intent asked for."""
    opened_ns = _ns(fields.get("opentm"))
    if opened_ns is None or opened_ns < intent.created_ns - _SKEW_NS:
        return False
    sent, descr = intent.sent, _dict(fields.get("descr"))
    if intent.method == "addOrder":
        same = all(descr.get(name) == sent[name] for name in ("type", "ordertype"))
        if not same or not _same_number(fields.get("vol"), sent["volume"]):
            return False
    return str(descr.get("pair", "")).replace("/", "") == str(sent["pair"]).replace("/", "")


def _cancelled(intent: Intent, evidence: Evidence, now_ns: int, _: Others) -> Intent | None:
    target = _target(intent)
    assert target is not None  # noqa: S101 - the catalog's rules demand one
    ids = _named(evidence, *target)
    standing = [name for name in ids if evidence.status(name) in {"open", "pending"}]
    if standing:
        if _is_aged(intent, now_ns):
            error = f"not cancelled: a quarter of an hour later {standing[0]} still stands"
            return _end(intent, REJECTED, now_ns, error=error, found=evidence.places[standing[0]])
        return None
    for order_id in ids:
        if evidence.status(order_id) == "canceled" and _ended_since(intent, evidence.orders[order_id]):
            return _end(
                intent,
                ACCEPTED,
                now_ns,
                found=evidence.places[order_id],
                order_id=order_id,
                status="canceled",
            )
    if target[0] == "order_id" and ids and evidence.status(ids[0]) in _OVER:
        error = f"not cancelled: {ids[0]} was {evidence.status(ids[0])} before"
        return _end(intent, REJECTED, now_ns, error=error, found=evidence.places[ids[0]])
    return _gone(intent, target[1], evidence, now_ns)


def _gone(intent: Intent, name: str, evidence: Evidence, now_ns: int) -> Intent | None:
    """An order of which only is known that it is not open any more."""
    if evidence.open_ids is None or not _is_aged(intent, now_ns):
        return None
    error = f"{name} is not open any more, and nothing tells why"
    return _end(intent, SETTLED, now_ns, error=error, found="openOrders")


def _opened_ns(fields: Mapping[str, Any]) -> int:
    return _ns(fields.get("opentm")) or 0


def _ended_ns(fields: Mapping[str, Any]) -> int | None:
    return _ns(fields.get("lastupdated") or fields.get("closetm"))


def _ended_since(intent: Intent, fields: Mapping[str, Any]) -> bool:
    ended_ns = _ended_ns(fields)
    return ended_ns is not None and ended_ns >= intent.created_ns - _SKEW_NS


def _all_cancelled(intent: Intent, evidence: Evidence, now_ns: int, _: Others) -> Intent | None:
    if evidence.open_ids is None:
        return None
    opened_ns = [_opened_ns(evidence.orders[order_id]) for order_id in evidence.open_ids]
    if all(at_ns >= intent.created_ns + _SKEW_NS for at_ns in opened_ns):
        trace = next((name for name in evidence.orders if _was_swept(intent, evidence, name)), None)
        if trace is not None:
            return _end(intent, ACCEPTED, now_ns, found=evidence.places[trace])
        return _end(intent, ACCEPTED, now_ns, found="openOrders") if _is_aged(intent, now_ns) else None
    if not _is_aged(intent, now_ns):
        return None
    before = sum(at_ns < intent.created_ns - _SKEW_NS for at_ns in opened_ns)
    if before:
        error = f"not cancelled: a quarter of an hour later {before} orders from before it still stand"
        return _end(intent, REJECTED, now_ns, error=error, found="openOrders")
    error = "orders of the same second stand: it was not carried out, or right before they were placed"
    return _end(intent, SETTLED, now_ns, error=error, found="openOrders")


def _was_swept(intent: Intent, evidence: Evidence, order_id: str) -> bool:
    """Whether an order stood before a cancelAll, and was cancelled after it had left."""
    fields = evidence.orders[order_id]
    reason = fields.get("reason") or fields.get("cancel_reason") or _USER_REQUESTED
    if evidence.status(order_id) != "canceled" or reason != _USER_REQUESTED:
        return False
    return 0 < _opened_ns(fields) < intent.created_ns <= (_ended_ns(fields) or 0)


def _amended(intent: Intent, evidence: Evidence, now_ns: int, _: Others) -> Intent | None:
    target = _target(intent)
    assert target is not None  # noqa: S101 - the catalog's rules demand one
    for order_id in _named(evidence, *target):
        fields, place = evidence.orders[order_id], evidence.places[order_id]
        if _stands_as_asked(intent.sent, fields):
            return _end(intent, ACCEPTED, now_ns, found=place, order_id=order_id)
        if _is_aged(intent, now_ns):
            status = evidence.status(order_id)
            if status in _OVER:
                error = f"{order_id} is {status}, and does not tell whether it was amended before"
                return _end(intent, SETTLED, now_ns, error=error, found=place)
            error = f"how {order_id} stands does not tell whether it was amended: it may have been once more"
            return _end(intent, SETTLED, now_ns, error=error, found=place)
    return _gone(intent, target[1], evidence, now_ns)


def _is_comparable(sent: Mapping[str, Any]) -> bool:
    prices = [str(sent[name]) for name in ("limit_price", "trigger_price") if name in sent]
    return all(price[0].isdigit() and price[-1] != "%" for price in prices) and bool(
        prices or {"volume", "display_volume"} & sent.keys()
    )


def _stands_as_asked(sent: Mapping[str, Any], fields: Mapping[str, Any]) -> bool:
    """Whether an order has the amounts that an amendment asked for; relative prices cannot be compared."""
    if not _is_comparable(sent):
        return False
    descr = _dict(fields.get("descr"))
    has_trigger = descr.get("ordertype") not in {"limit", "market", None}
    now = {
        "volume": fields.get("vol"),
        "display_volume": fields.get("display_volume"),
        "limit_price": descr.get("price2" if has_trigger else "price"),
        "trigger_price": descr.get("price") if has_trigger else None,
    }
    return all(_same_number(now[name], sent[name]) for name in now if name in sent)


def _switched(intent: Intent, _e: Evidence, now_ns: int, _o: Others) -> Intent | None:
    """The dead man's switch shows nowhere; what has not arrived by now never will."""
    if not _is_aged(intent, now_ns):
        return None
    seconds = int(intent.sent["timeout"])
    what = f"set to {seconds} s" if seconds else "switched off"
    return _end(intent, SETTLED, now_ns, error=f"nothing tells whether the switch was {what}")


_JUDGES: dict[str, Callable[[Intent, Evidence, int, Others], Intent | None]] = {
    "addOrder": _placed,
    "editOrder": _placed,
    "amendOrder": _amended,
    "cancelOrder": _cancelled,
    "cancelAll": _all_cancelled,
    "cancelAllOrdersAfter": _switched,
}
_ADVICE = {
    "cancelAllOrdersAfter": "the switch shows nowhere; sending it again is harmless, the last one counts",
    "cancelAll": "look at your open orders, and beware: it may still arrive, and cancel what you place now",
}
_ADVICE_ON_SETTLED = {
    "cancelAllOrdersAfter": "sending it again is harmless, the last one counts",
    "cancelAll": "look at your open orders",
    "addOrder": "look at the orders with that number, and when they were opened",
    "editOrder": "look at the orders with that number, and when they were opened",
}


def advice(intent: Intent) -> str:
    """Return what to look at when the outcome of an intent stays unknown."""
    if intent.state == SETTLED:
        return _ADVICE_ON_SETTLED.get(intent.method, "look at the order as it is now")
    mark = mark_of(intent)
    if mark:
        return f"look for {mark[0]} {mark[1]} among your orders and trades before sending it again"
    return _ADVICE.get(intent.method, "look at the order before sending it again")


def order_of(intent: Intent) -> str:
    """Return what a cancel, an amendment or an edit is about."""
    for name in ("txid", "orderid", "cl_ord_id"):
        value = intent.sent.get(name)
        if value and intent.method != "addOrder":
            return str(value[0] if isinstance(value, list) else value)
    return ""


def named(intent: Intent) -> str:
    """Return an intent for people: `addOrder (userref 1771)`."""
    mark = mark_of(intent)
    what = " ".join(mark) if mark else order_of(intent)
    return f"{intent.method} ({what})" if what else intent.method


# ---- fields


def _dict(value: object) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}


def _a_minute_before(at_ns: int) -> str:
    return str(at_ns // 1_000_000_000 - 60)


def _ns(epoch: object) -> int | None:
    """Return nanoseconds of epoch seconds as text or a whole number, None for anything else and for 0."""
    seconds, _, fraction = str(epoch).partition(".")
    if not (seconds.isascii() and seconds.isdigit() and len(seconds) < 12):
        return None
    digits = fraction[:9].ljust(9, "0")
    return int(seconds + digits) or None if digits.isascii() and digits.isdigit() else None


def _same_number(one: object, other: object) -> bool:
    return one is not None and _plain(str(one)) == _plain(str(other))


def _plain(number: str) -> str:
    whole, _, fraction = number.partition(".")
    return f"{whole.lstrip('0')}.{fraction.rstrip('0')}"
