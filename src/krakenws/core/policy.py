"""The user's own limits on orders, `[policy]` in `config.toml`: facts in, allowed or the rule that forbids.

Rules of this file:

- What only takes away (cancels, the dead man's switch) is never looked at: it must always be possible.
- A limit that cannot be evaluated forbids: no verified book, no journal, an order that does not say enough.
- Volume is in base currency, notional (price times volume) in quote currency, each limit for one order or for
  the day since midnight UTC. An edit or amendment that names a volume counts like a new order: it could raise
  the order by as much.
- The price collar is about what an order may pay at once: a limit that is worse than the best price of the
  other side by more, or a market order that would walk further. An edit names no side and is held to both.
  Of a limit behind a trigger, the trigger is the reference. A trigger alone has no price to hold it to.
"""

from __future__ import annotations

from contextlib import contextmanager
from decimal import Decimal

from krakenws.core.catalog import nearest, shown
from krakenws.core.exposure import EXACT, Exposure, HeldPrice, Quote, Sizing, distance, plain
from krakenws.core.kinds import normal_pair
from krakenws.core.ordercheck import is_relative
from krakenws.errors import PolicyRefused, UsageError
from krakenws.record import record, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    from krakenws.core.catalog import Bound

STREAK_S = 600
"""A streak of rejections forbids orders for so long after the last of them."""


@record
class Amounts:
    """A limit for each currency; one number is the limit of every currency, in its own units.

    Attributes:
        by_asset: by v1 name, `XBT`; "" stands for every currency.
    """

    by_asset: Mapping[str, Decimal]

    def of(self, asset: str) -> Decimal | None:
        """Return the limit of a currency, or None: it has none, and nothing of it may be traded."""
        return self.by_asset.get(asset, self.by_asset.get(""))


@record
class Policy:
    """What `[policy]` says; a limit that is None was not set.

    Attributes:
        source: the file it was read from.
        pairs: the only pairs that may be traded, v1 names; `*/USD` and `XBT/*` stand for many.
        max_volume_per_order: by base currency.
        max_notional_per_order: by quote currency.
        max_volume_per_day: by base currency, over all pairs.
        max_notional_per_day: by quote currency, over all pairs.
        price_collar_percent: how much worse than the best price an order may be.
        max_open_orders: on the account, the new one included.
        max_rejections_in_a_row: so many refused orders stop trading for ten minutes.
        kill_file: while a file of this name is there, no order is sent.
    """

    source: str
    pairs: tuple[str, ...] | None = None
    max_volume_per_order: Amounts | None = None
    max_notional_per_order: Amounts | None = None
    max_volume_per_day: Amounts | None = None
    max_notional_per_day: Amounts | None = None
    price_collar_percent: Decimal | None = None
    max_open_orders: int | None = None
    max_rejections_in_a_row: int | None = None
    kill_file: str | None = None


@record
class Verdict:
    """How an order of an earlier time ended: `accepted`, `rejected` or `unknown`, in ns since 1970."""

    outcome: str
    at_ns: int


@record
class Facts:
    """What is known when an order is to be sent; None where nobody could find out.

    Attributes:
        now_ns: the time, ns since 1970.
        quote: the book of its pair.
        open_orders: how many the account has.
        sent_today: orders since midnight UTC that were not rejected, whatever became of them.
        verdicts: of the last orders, newest first; as many as the streak is long, or all there are.
        kill: why the kill file forbids, or "".
    """

    now_ns: int
    quote: Quote | None = None
    open_orders: int | None = None
    sent_today: Sequence[Exposure] | None = None
    verdicts: Sequence[Verdict] | None = None
    kill: str = ""


# ---- reading it


def read_policy(table: Mapping[str, object], source: str) -> Policy:
    """Return the policy of a `[policy]` table.

    Args:
        table: as TOML gives it, numbers with a fraction as text.
        source: the file, for messages.

    Raises:
        UsageError: an unknown key, or a value that does not fit.
    """
    found: dict[str, Any] = {}
    for name, value in table.items():
        read = _READERS.get(name)
        if read is None:
            meant = nearest(name, _READERS)
            raise UsageError(
                f"{source}: [policy] has no limit {name!a}" + (f"; did you mean {meant}?" if meant else "")
            )
        try:
            found[name] = read(value)
        except ValueError as error:
            raise UsageError(f"{source}: [policy] {name} {error}") from None
    return Policy(source, **found)


def _pairs(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) and "/" in item for item in value):
        raise ValueError('is not a list of pairs, such as ["XBT/USD", "*/EUR"]')
    return tuple(normal_pair(item, 1) for item in value)


def _asset(name: str) -> str:
    return normal_pair(f"{name}/USD", 1).partition("/")[0]


def _number(value: object) -> Decimal:
    text = str(value)
    if (
        isinstance(value, bool)
        or not (text.isascii() and text.replace(".", "", 1).isdigit())
        or len(text) > 40
    ):
        raise ValueError(f"= {shown(text)} is not a number such as 0.5 or 5000")
    return Decimal(text)


def _amounts(value: object) -> Amounts:
    if isinstance(value, dict):
        return Amounts({_asset(name): _number(each) for name, each in value.items()})
    return Amounts({"": _number(value)})


def _count(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"= {shown(str(value))} is not a whole number")
    return value


def _streak(value: object) -> int:
    if not _count(value):
        raise ValueError("= 0 would forbid everything: use kill_file for that")
    return _count(value)


def _path(value: object) -> str:
    if not isinstance(value, str) or not value.startswith(("/", "~/")):
        raise ValueError("is not a path from / or ~/ on, such as ~/stop-trading")
    return value


_READERS: dict[str, Callable[[object], object]] = {
    "pairs": _pairs,
    "max_volume_per_order": _amounts,
    "max_notional_per_order": _amounts,
    "max_volume_per_day": _amounts,
    "max_notional_per_day": _amounts,
    "price_collar_percent": _number,
    "max_open_orders": _count,
    "max_rejections_in_a_row": _streak,
    "kill_file": _path,
}


# ---- what has to be known


def needs_quote(policy: Policy, bound: Bound) -> bool:
    """Whether an order can only be judged with the book of its pair."""
    return bool(_quoted(policy, Sizing(bound)))


def _quoted(policy: Policy, order: Sizing) -> list[str]:
    """Return the limits that need the book."""
    names = ["price_collar_percent"] if order.at_market or order.held_prices() else []
    if order.notional_needs_quote:
        names += ["max_notional_per_order", "max_notional_per_day"]
    if order.viqc:
        names += ["max_volume_per_order", "max_volume_per_day"]
    return [name for name in names if getattr(policy, name) is not None]


def needs_open_orders(policy: Policy, bound: Bound) -> bool:
    """Whether an order can only be judged with the number of open ones."""
    return policy.max_open_orders is not None and bound.entry.name == "addOrder"


def needs_journal(policy: Policy) -> bool:
    """Whether orders can only be judged with what was sent before."""
    limits = (policy.max_volume_per_day, policy.max_notional_per_day, policy.max_rejections_in_a_row)
    return any(limit is not None for limit in limits)


def without_looking(policy: Policy, bound: Bound) -> tuple[Policy, list[str]]:
    """Return the policy without the limits for which the exchange would have to be asked, and their names."""
    names = _quoted(policy, Sizing(bound)) + ["max_open_orders"] * needs_open_orders(policy, bound)
    return replace(policy, **dict.fromkeys(names)), names


# ---- judging


def judge(policy: Policy, bound: Bound, facts: Facts) -> Exposure:
    """Return what an order may come to, if the policy allows it.

    Args:
        policy: the limits.
        bound: a command of `v1_entries.PLACING`.
        facts: what is known now.

    Raises:
        PolicyRefused: the rule that forbids it, and how to change it.
    """
    order = Sizing(bound)
    exposure = order.exposure(facts.quote)
    with _told(policy, bound):
        _kill_file(facts)
        _allowed_pairs(policy, order)
        _rejections(policy, facts)
        _amount(policy, order, exposure, facts)
        _collar(policy, order, facts.quote)
        _open_orders(policy, order, facts)
    return exposure


def judge_again(policy: Policy, bound: Bound, exposure: Exposure, facts: Facts) -> None:
    """Judge what was allowed before, right before it leaves, by what other processes may have changed since.

    Args:
        policy: the limits.
        bound: the command.
        exposure: what `judge` said that it may come to.
        facts: without `quote`; the collar was held to the book as it was.

    Raises:
        PolicyRefused: as `judge` does.
    """
    order = Sizing(bound)
    with _told(policy, bound):
        _kill_file(facts)
        _rejections(policy, facts)
        _amount(policy, order, exposure, facts)
        _open_orders(policy, order, facts)


@contextmanager
def _told(policy: Policy, bound: Bound) -> Iterator[None]:
    try:
        yield
    except _Forbidden as forbidden:
        refused = PolicyRefused(
            f"{bound.entry.name}: your policy forbids it: {forbidden.rule}: {forbidden};"
            f" [policy] in {policy.source} sets the limits"
        )
        refused.retryable = forbidden.retryable
        raise refused from None


class _Forbidden(Exception):
    """A rule's no; `retryable` where it was only not learned in time whether the rule allows it."""

    def __init__(self, rule: str, sentence: str, *, retryable: bool = False) -> None:
        super().__init__(sentence)
        self.rule = rule
        self.retryable = retryable


def _kill_file(facts: Facts) -> None:
    if facts.kill:
        raise _Forbidden("kill_file", facts.kill)


def _allowed_pairs(policy: Policy, order: Sizing) -> None:
    if policy.pairs is None:
        return
    if not order.pair:
        raise _Forbidden("pairs", "the command names no pair; say pair=")
    if not any(
        base in {"*", order.base} and quote in {"*", order.quote}
        for base, _, quote in (name.partition("/") for name in policy.pairs)
    ):
        raise _Forbidden("pairs", f"{order.pair} is not among {', '.join(policy.pairs) or 'them: none is'}")


def _rejections(policy: Policy, facts: Facts) -> None:
    longest = policy.max_rejections_in_a_row
    if longest is None:
        return
    rule = "max_rejections_in_a_row"
    if facts.verdicts is None:
        raise _Forbidden(rule, "the journal of orders cannot be read")
    last = facts.verdicts[:longest]
    if len(last) < longest or any(verdict.outcome != "rejected" for verdict in last):
        return
    left_s = STREAK_S - (facts.now_ns - last[0].at_ns) // 1_000_000_000
    if left_s > 0:
        raise _Forbidden(
            rule, f"the last {longest} orders were rejected; orders are allowed again in {left_s} s"
        )


def _amount(policy: Policy, order: Sizing, exposure: Exposure, facts: Facts) -> None:
    for what, asset, told in (
        ("volume", order.base, exposure.volume),
        ("notional", order.quote, exposure.notional),
    ):
        once: Amounts | None = getattr(policy, f"max_{what}_per_order")
        daily: Amounts | None = getattr(policy, f"max_{what}_per_day")
        if once is None and daily is None:
            continue
        if what == "volume" and order.keeps_volume:
            continue
        rule = f"max_{what}_per_{'day' if once is None else 'order'}"
        if not order.pair:
            raise _Forbidden(rule, "the command names no pair; say pair=")
        if not told:
            raise _Forbidden(rule, f"the {what} is not known: {order.unknown()}")
        amount = Decimal(told)
        if once is not None:
            _within(f"max_{what}_per_order", asset, amount, once)
        if daily is not None:
            rule = f"max_{what}_per_day"
            _within(rule, asset, EXACT.add(amount, _sent(rule, what, asset, facts)), daily, " today")


def _within(rule: str, asset: str, amount: Decimal, limits: Amounts, when: str = "") -> None:
    limit = limits.of(asset)
    if limit is None:
        raise _Forbidden(rule, f"it has no limit for {asset}; add one")
    if amount > limit:
        raise _Forbidden(rule, f"{plain(amount)} {asset}{when} is more than {plain(limit)} {asset}")


def _sent(rule: str, what: str, asset: str, facts: Facts) -> Decimal:
    """Return what today's orders come to in a currency."""
    if facts.sent_today is None:
        raise _Forbidden(rule, "the journal of orders cannot be read")
    total = Decimal(0)
    for sent in facts.sent_today:
        base, _, quote = sent.pair.partition("/")
        if asset != (base if what == "volume" else quote):
            continue
        amount = sent.volume if what == "volume" else sent.notional
        if not amount and what == "notional":
            raise _Forbidden(rule, f"of an order of today on {sent.pair} the notional is not known")
        total = EXACT.add(total, Decimal(amount or 0))
    return total


def _open_orders(policy: Policy, order: Sizing, facts: Facts) -> None:
    most = policy.max_open_orders
    if most is None or order.name != "addOrder":
        return
    if facts.open_orders is None:
        late = "how many are open could not be found out in time"
        raise _Forbidden("max_open_orders", late, retryable=True)
    if facts.open_orders >= most:
        raise _Forbidden("max_open_orders", f"{facts.open_orders} are open, and {most} may be")


def _collar(policy: Policy, order: Sizing, quote: Quote | None) -> None:
    percent, rule = policy.price_collar_percent, "price_collar_percent"
    held = order.held_prices()
    if percent is None or not (order.at_market or held):
        return
    if not order.pair:
        raise _Forbidden(rule, "the command names no pair; say pair=")
    if quote is None:
        raise _Forbidden(rule, f"there was no verified book of {order.pair} in time", retryable=True)
    if order.at_market:
        walked = order.walk(quote)
        if walked is None:
            raise _Forbidden(
                rule, f"the best levels of {order.pair} do not hold the volume; use ordertype=limit"
            )
        said = f"at market it would pay up to {plain(walked[1])},"
        _hold(rule, said, order.side, walked[1], quote.best(order.side), percent)
    for one in held:
        reference = quote.best(one.side) if one.trigger is None else one.trigger
        if not is_relative(one.text):
            _hold(rule, f"{one.name}={shown(one.text)} is", one.side, Decimal(one.text), reference, percent)
        elif _is_far(one, reference, percent):
            raise _Forbidden(rule, f"{one.name}={shown(one.text)} is more than {plain(percent)} % away")


def _is_far(one: HeldPrice, reference: Decimal, percent: Decimal) -> bool:
    amount, of_percent = distance(one.text)
    return amount > percent if of_percent else _times(amount, 100) > _times(reference, percent)


def _hold(  # noqa: PLR0917 - rule and words, then numbers
    rule: str, said: str, side: str, price: Decimal, reference: Decimal, percent: Decimal
) -> None:
    """Forbid a price that is worse for that side than the reference by more than so many percent."""
    allowed = _times(reference, 100 + percent if side == "buy" else 100 - percent)
    hundredfold = _times(price, 100)
    if hundredfold > allowed if side == "buy" else hundredfold < allowed:
        how = "above" if side == "buy" else "below"
        raise _Forbidden(rule, f"{said} more than {plain(percent)} % {how} {plain(reference)}")


def _times(one: Decimal, other: Decimal | int) -> Decimal:
    return EXACT.multiply(one, Decimal(other))
