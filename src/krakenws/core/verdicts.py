"""What accepted trading requests come to, typed: the return values of the Python API.

Refused and lost requests are exceptions (`OrderRejected`, `OutcomeUnknown`), never verdicts.
"""

from __future__ import annotations

from krakenws.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, TypeVar

    from krakenws.core.events import Reply

    VerdictT = TypeVar("VerdictT", bound="Verdict")


@record
class Verdict:
    """The exchange accepted a command.

    Attributes:
        req_id: the number that its request and answer carried; of several requests, the last answered.
        received_ns: when its verdict was known, in wall-clock nanoseconds since 1970.
        result: the exchange's whole answer, under v2's field names.
        intent: its name in the journal; "" when nothing was to be placed.
        found: where the verdict was found when no answer brought it in time; else "".
        rate: what it left of the account's rate counter on the pair: `symbol`, `counter` in points and, once
            openOrders has told it, `ceiling`; None where nothing was counted.
    """

    req_id: int
    received_ns: int
    result: Mapping[str, Any]
    intent: str = ""
    found: str = ""
    rate: Mapping[str, Any] | None = None


@record
class OrderAdded(Verdict):
    """An order is in the book or was executed.

    Attributes:
        order_id: the exchange's id of it; "" when it was only validated.
        descr: the order as a phrase, "buy 0.01 XBT/USD @ limit 9000".
    """

    order_id: str = ""
    descr: str = ""


@record
class OrderAmended(Verdict):
    """An order was changed in place.

    Attributes:
        order_id: its id, unchanged; "" when it was named by `cl_ord_id`.
        amend_id: the exchange's id of the change.
    """

    order_id: str = ""
    amend_id: str = ""


@record
class OrderEdited(Verdict):
    """An order was cancelled and its changed copy placed.

    Attributes:
        order_id: the id of the new order.
        original_order_id: that of the old one, which is gone.
        descr: the new order as a phrase.
    """

    order_id: str = ""
    original_order_id: str = ""
    descr: str = ""


@record
class OrdersCancelled(Verdict):
    """Orders were cancelled.

    Attributes:
        count: how many, where the exchange says so (`cancel_all`), else None.
        orders: by what they were named, one each; empty for `cancel_all`.
    """

    count: int | None = None
    orders: tuple[str, ...] = ()


@record
class SwitchSet(Verdict):
    """The dead man's switch was set, or switched off.

    Attributes:
        trigger_time: when it cancels all orders, RFC 3339 UTC; "0" when it is off.
        current_time: the exchange's clock at that moment.
    """

    trigger_time: str = ""
    current_time: str = ""


def verdict_of(kind: type[VerdictT], replies: Sequence[Reply]) -> VerdictT:
    """Return accepted requests of one command as a verdict of that kind."""
    last = replies[-1]
    names = set(kind.__match_args__) - set(Verdict.__match_args__)
    told: dict[str, Any] = {name: last.result[name] for name in names if name in last.result}
    if "orders" in names:
        told["orders"] = tuple(reply.order for reply in replies if reply.order)
    return kind(last.req_id, last.received_ns, last.result, last.intent, last.found, last.rate, **told)
