"""What a change of an order comes to: amended prices, edited fields, and what an order can cost at worst.

Source: v1.md 9.1 to 9.3.
"""

from __future__ import annotations

from decimal import Decimal

from krakenws.exchange.checks import check_price, read_price, read_volume
from krakenws.exchange.orders import BUY, LIMIT, LIMITED, OPPOSITE, TRAILING, TRIGGERED, ZERO, Relative
from krakenws.exchange.requests import Refusal
from krakenws.exchange.triggers import parse_distance, to_tick

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from krakenws.exchange.market import Market
    from krakenws.exchange.records import OrderRecord

    Fields = Mapping[str, object]

INVALID = "EGeneral:Invalid arguments:"


def text_of(fields: Fields, name: str) -> str:
    """Return a field's text, "" if it was not given."""
    value = fields.get(name)
    return value if isinstance(value, str) else ""


def amended_prices(
    record: OrderRecord, fields: Fields, market: Market
) -> tuple[Decimal | Relative | None, Decimal | Relative | None]:
    """Return the limit and the trigger price that an amendment asks for."""
    terms, instrument, last = record.terms, market.instrument, market.engine.last_price
    limit_text, trigger_text = text_of(fields, "limit_price"), text_of(fields, "trigger_price")
    limit: Decimal | Relative | None = None
    trigger: Decimal | Relative | None = None
    if trigger_text and (terms.order_type not in TRIGGERED or record.triggered):
        raise Refusal(INVALID + "trigger_price")
    if limit_text and terms.order_type not in LIMITED:
        raise Refusal(INVALID + "limit_price")
    trails = terms.order_type in TRAILING and not record.triggered
    if trigger_text:
        trigger = (
            _distance(trigger_text)
            if trails
            else read_price(trigger_text, instrument, last, terms.side, terms.order_type)
        )
    if limit_text:
        limit = (
            _distance(limit_text, signed=True)
            if trails
            else read_price(limit_text, instrument, last, terms.side, LIMIT)
        )
    for price in (limit, trigger):
        if isinstance(price, Relative) and not price.percent:
            check_price(abs(price.amount), instrument)
    return limit, trigger


def ends_it(record: OrderRecord, fields: Fields) -> bool:
    """Whether an amendment leaves nothing of an order to fill, which cancels the rest."""
    try:
        return read_volume(text_of(fields, "volume"), record.instrument) <= record.filled
    except Refusal:
        return False


def edited_fields(old: OrderRecord, before: Fields, fields: Fields) -> dict[str, object]:
    """Return the fields of an edited order: the old one's as they stand now, and what is changed."""
    asked = {
        name: value
        for name, value in before.items()
        if name not in {"userref", "cl_ord_id", "starttm", "deadline", "validate"}
    }
    asked["volume"] = format(old.qty, "f")
    if old.terms.order_type not in TRAILING:
        prices = [p for p in (old.trigger_price, old.limit_price) if p is not None]
        asked.update(zip(("price", "price2"), (format(p, "f") for p in prices), strict=False))
    if old.terms.expire_us is not None:
        asked["expiretm"] = str(-(-old.terms.expire_us // 1_000_000))
    for name in ("volume", "price", "price2"):
        if fields.get(name):
            asked[name] = fields[name]
    if "oflags" in fields:
        asked["oflags"] = fields["oflags"]
    if fields.get("newuserref"):
        asked["userref"] = fields["newuserref"]
    asked["validate"] = fields.get("validate")
    return asked


def worst_price(
    market: Market,
    record: OrderRecord,
    qty: Decimal,
    limit: Decimal | Relative | None,
    trigger: Decimal | Relative | None,
) -> Decimal:
    """Return the worst price at which an order without a limit can fill, as far as anybody knows.

    Args:
        market: where it is placed.
        record: the order.
        qty: what is left of it.
        limit: the new distance of its limit price from the trigger, None where it stays.
        trigger: its new trigger price or distance, None where it stays.
    """
    terms, engine = record.terms, market.engine
    last = engine.last_price or market.instrument.start_price
    if terms.order_type in TRIGGERED:
        order = engine.order(record.order_id)
        offset = limit or (terms.limit_price if order is None else order.offset)
        asked = trigger or (terms.trigger_price if order is None else order.trigger_price)
        price = asked if isinstance(asked, Decimal) else last
        if isinstance(asked, Relative):
            price = to_tick(last + asked.of(last), market.instrument.tick_size)
        if isinstance(offset, Relative):
            price += max(offset.of(price), ZERO)
        return price
    left, price = qty, last
    if terms.side != BUY:
        return max(last, engine.best_bid[0]) if engine.best_bid else last
    own = {
        (order.limit_price, order.order_id): order.left
        for order in engine.orders_of(record.owner)
        if order.side == OPPOSITE[terms.side] and not order.waiting
    }
    for level, level_qty, _ in engine.levels(OPPOSITE[terms.side]):
        price = level
        left -= level_qty - sum((own[key] for key in own if key[0] == level), ZERO)
        if left <= 0:
            break
    return price


def _distance(text: str, *, signed: bool = False) -> Relative:
    try:
        return parse_distance(text, signed=signed)
    except (ValueError, ArithmeticError):
        raise Refusal(INVALID + ("limit_price" if signed else "trigger_price")) from None
