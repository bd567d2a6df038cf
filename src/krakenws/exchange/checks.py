"""Order requests against an instrument: what they ask for, exactly, or Kraken's words against it.

`read_order` turns the text fields of a request, which are the same on API v1 and REST, into `Terms`. Nothing
is rounded: what does not fit is refused. An empty text is a field that was not given.

Looked at in this order: words, volume, prices, flags, times, minimums. Kraken does not document its own. The
texts behind `EOrder:Invalid price:` are as clients have quoted them (zenbot #2645, freqtrade #4151).

Source: v1.md sections 8.2 and 9.1; auth.md 5.3; quirk O13.
"""

from __future__ import annotations

from decimal import Decimal

from krakenws.exchange.orders import (
    BUY,
    CANCEL_BOTH,
    CANCEL_NEWEST,
    CANCEL_OLDEST,
    GTC,
    GTD,
    IOC,
    LIMIT,
    LIMITED,
    MARKET,
    ORDER_TYPES,
    SELL,
    SETTLE_POSITION,
    TRAILING,
    TRAILING_STOP_LIMIT,
    TRIGGERED,
    CloseOrder,
    NewOrder,
    Relative,
)
from krakenws.exchange.requests import Refusal
from krakenws.exchange.triggers import parse_distance, resolve_price
from krakenws.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from krakenws.exchange.instruments import Instrument

UNKNOWN_PAIR = "EQuery:Unknown asset pair"
TICK_SIZE = "EOrder:Tick size check failed"
ORDER_MINIMUM = "EOrder:Order minimum not met"
COST_MINIMUM = "EOrder:Cost minimum not met"
INVALID_PRICE = "EOrder:Invalid price:Invalid price argument."
INVALID_PRICE2 = "EOrder:Invalid price:Invalid secondary price argument."
NO_MPP = "EGeneral:Invalid arguments:no_mpp order option is only available when ordertype = market"
NO_INDEX = "EGeneral:Invalid arguments:Index unavailable"
DEADLINE_ELAPSED = "EService:Deadline elapsed"
UNAVAILABLE = "EService:Unavailable"

MONTH_US = 31 * 86_400_000_000
_SECOND_US = 1_000_000
_DEADLINE_US = (500_000, 60 * _SECOND_US)
DEFAULT_DEADLINE_US = 5 * _SECOND_US
_FLAGS = frozenset({"fciq", "fcib", "nompp", "post", "viqc"})
_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_STP_TYPES = frozenset({CANCEL_NEWEST, CANCEL_OLDEST, CANCEL_BOTH})
_CLOSE_TYPES = ORDER_TYPES - {MARKET, SETTLE_POSITION}


@record
class Terms:
    """What an order asks for, checked.

    Attributes:
        side: `buy` or `sell`.
        order_type: Kraken's word.
        qty: in base currency, in quote currency with `viqc`; zero only for `settle-position`.
        limit_price: absolute, or of a `trailing-stop-limit` an offset from its trigger price.
        trigger_price: absolute, or of the trailing types a distance.
        time_in_force: `GTC`, `IOC` or `GTD`.
        start_us: when to place it, microseconds since 1970; None is now.
        expire_us: when it expires; None is never.
        flags: `oflags` but the fee's, sorted.
        fee_in_base: `fcib`; without either fee flag the fee is in quote currency, as captured for both sides.
        leverage: 0 is spot.
        reduce_only: close at most.
        stp_type: self-trade prevention.
        userref: 0 when not given.
        cl_ord_id: "" when not given.
        close: the conditional close order.
        validate: check only.
    """

    side: str
    order_type: str
    qty: Decimal
    limit_price: Decimal | Relative | None = None
    trigger_price: Decimal | Relative | None = None
    time_in_force: str = GTC
    start_us: int | None = None
    expire_us: int | None = None
    flags: tuple[str, ...] = ()
    fee_in_base: bool = False
    leverage: int = 0
    reduce_only: bool = False
    stp_type: str = CANCEL_NEWEST
    userref: int = 0
    cl_ord_id: str = ""
    close: CloseOrder | None = None
    validate: bool = False

    @property
    def post_only(self) -> bool:
        """Whether it must not take."""
        return "post" in self.flags

    @property
    def viqc(self) -> bool:
        """Whether `qty` is in quote currency."""
        return "viqc" in self.flags

    @property
    def oflags(self) -> str:
        """The flags as feeds tell them, the fee's always among them."""
        return ",".join(sorted((*self.flags, "fcib" if self.fee_in_base else "fciq")))

    def order(self, order_id: str, owner: str) -> NewOrder:
        """Return the order as the matching engine takes it."""
        return NewOrder(
            order_id=order_id,
            owner=owner,
            side=self.side,
            order_type=self.order_type,
            qty=self.qty,
            limit_price=self.limit_price,
            trigger_price=self.trigger_price,
            time_in_force=self.time_in_force,
            expire_us=self.expire_us,
            post_only=self.post_only,
            reduce_only=self.reduce_only,
            margin=bool(self.leverage),
            viqc=self.viqc,
            stp_type=self.stp_type,
            close=self.close,
        )


def read_order(
    fields: Mapping[str, object], instrument: Instrument, last: Decimal | None, now_us: int
) -> Terms:
    """Return what an addOrder (or REST AddOrder) asks for.

    Args:
        fields: as named on the wire, `close[price]` and the like included; numbers are text.
        instrument: what is traded.
        last: the last trade's price, which relative prices are relative to.
        now_us: microseconds since 1970.

    Raises:
        Refusal: in Kraken's words.
    """
    given = {name: value for name, value in fields.items() if value not in (None, "")}
    side = _word(given, "type", (BUY, SELL))
    order_type = _word(given, "ordertype", ORDER_TYPES)
    flags, fee_in_base = _flags(given, side, order_type)
    leverage = read_leverage(given, instrument, side)
    viqc = "viqc" in flags
    if viqc and leverage:
        raise _invalid("oflags")
    reduce_only = _is_set(given, "reduce_only")
    if reduce_only and not leverage:
        raise _invalid("reduce_only")
    qty = read_volume(_text(given, "volume"), instrument, viqc=viqc, allow_zero=order_type == SETTLE_POSITION)
    limit_price, trigger_price = _prices(given, instrument, last, side, order_type)
    time_in_force, start_us, expire_us = _times(given, now_us)
    if time_in_force == IOC and "post" in flags:
        raise _invalid("timeinforce")
    userref, cl_ord_id = _references(given)
    terms = Terms(
        side=side,
        order_type=order_type,
        qty=qty,
        limit_price=limit_price,
        trigger_price=trigger_price,
        time_in_force=time_in_force,
        start_us=start_us,
        expire_us=expire_us,
        flags=flags,
        fee_in_base=fee_in_base,
        leverage=leverage,
        reduce_only=reduce_only,
        stp_type=_word(given, "stp_type", _STP_TYPES, CANCEL_NEWEST),
        userref=userref,
        cl_ord_id=cl_ord_id,
        close=_close(given, instrument),
        validate=_is_set(given, "validate"),
    )
    check_minimums(terms, instrument, last)
    return terms


def read_volume(
    text: str, instrument: Instrument, *, viqc: bool = False, allow_zero: bool = False
) -> Decimal:
    """Return a quantity that has no more decimals than the pair allows.

    Raises:
        Refusal: `EGeneral:Invalid arguments:volume`.
    """
    qty = _number(text)
    decimals = instrument.cost_decimals if viqc else instrument.lot_decimals
    if qty is None or qty < 0 or (not qty and not allow_zero) or not _fits(qty, decimals):
        raise _invalid("volume")
    return qty


def read_price(
    text: str,
    instrument: Instrument,
    last: Decimal | None,
    side: str,
    order_type: str,
    *,
    second: bool = False,
) -> Decimal:
    """Return an absolute price, resolved if it is relative, that has the pair's decimals and is on its tick.

    Args:
        text: `9000.5`, `+5`, `-1.5%`, `#10`.
        instrument: what is traded.
        last: what relative prices are relative to.
        side: with the order type, the direction of `#`.
        order_type: Kraken's word.
        second: it is `price2`, and is called so when refused.

    Raises:
        Refusal: no price, too many decimals, off the tick, or nothing to be relative to.
    """
    if last is None and text[:1] in {"+", "-", "#"}:
        raise Refusal(NO_INDEX)
    try:
        price = resolve_price(text, last, side, order_type, instrument.tick_size)
    except (ValueError, ArithmeticError):
        raise Refusal(INVALID_PRICE2 if second else INVALID_PRICE) from None
    return check_price(price, instrument)


def check_price(price: Decimal, instrument: Instrument) -> Decimal:
    """Return an absolute price of the pair's decimals and tick, which may be the coarser (quirk O13).

    Raises:
        Refusal: it is neither.
    """
    if not _fits(price, instrument.pair_decimals):
        raise Refusal(
            f"EOrder:Invalid price:{instrument.rest_key} price can only be specified"
            f" up to {instrument.pair_decimals} decimals."
        )
    if price % instrument.tick_size:
        raise Refusal(TICK_SIZE)
    return price


def read_leverage(given: Mapping[str, object], instrument: Instrument, side: str) -> int:
    """Return the leverage asked for, 0 for spot; `margin` asks for the most that the pair offers.

    Raises:
        Refusal: the pair does not offer it on that side.
    """
    offered = instrument.leverage_buy if side == BUY else instrument.leverage_sell
    text = str(given.get("leverage") or "none").removesuffix(":1")
    if text != "none":
        if not (text.isascii() and text.isdigit()) or len(text) > 3 or int(text) not in offered:
            raise _invalid("leverage")
        return int(text)
    if not _is_set(given, "margin"):
        return 0
    if not offered:
        raise _invalid("margin")
    return max(offered)


def check_minimums(terms: Terms, instrument: Instrument, last: Decimal | None) -> None:
    """Pass if an order is large enough. One that only reduces or settles may be small.

    Raises:
        Refusal: `Order minimum not met`, or `Cost minimum not met`.
    """
    if terms.reduce_only or terms.order_type == SETTLE_POSITION:
        return
    price = next((p for p in (terms.limit_price, terms.trigger_price, last) if isinstance(p, Decimal)), None)
    if terms.viqc:
        if terms.qty < instrument.costmin:
            raise Refusal(COST_MINIMUM)
        if price is not None and terms.qty < instrument.ordermin * price:
            raise Refusal(ORDER_MINIMUM)
        return
    if terms.qty < instrument.ordermin:
        raise Refusal(ORDER_MINIMUM)
    if price is not None and terms.qty * price < instrument.costmin:
        raise Refusal(COST_MINIMUM)


def check_status(status: str, terms: Terms) -> None:
    """Pass if a system or pair in this status takes such an order. Source: v1.md 5.3, auth.md 5.3.

    Raises:
        Refusal: `EService:…`.
    """
    if status == "maintenance":
        raise Refusal(UNAVAILABLE)
    allowed = {
        "online": True,
        "cancel_only": False,
        "post_only": terms.post_only,
        "limit_only": terms.order_type == LIMIT,
        "reduce_only": terms.reduce_only,
    }
    if not allowed.get(status, False):
        raise Refusal(f"EService:Market in {status} mode")


def read_deadline(text: str, now_us: int) -> int:
    """Return until when a request may be carried out, microseconds since 1970; "" is five seconds from now.

    Raises:
        Refusal: it has passed, or is not half a second to a minute ahead.

    Source: v1.md 9.1.
    """
    from datetime import UTC, datetime, timedelta

    if not text:
        return now_us + DEFAULT_DEADLINE_US
    try:
        at = datetime.fromisoformat(text)
        deadline_us = (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    except (ValueError, TypeError):  # TypeError: it names no time zone
        raise _invalid("deadline") from None
    if deadline_us <= now_us:
        raise Refusal(DEADLINE_ELAPSED)
    if not _DEADLINE_US[0] <= deadline_us - now_us <= _DEADLINE_US[1]:
        raise _invalid("deadline")
    return deadline_us


def is_userref(text: str) -> bool:
    """Whether text is a whole number of 32 bits."""
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 10:
        return False
    return -(1 << 31) <= int(text) < 1 << 31


def _flags(given: Mapping[str, object], side: str, order_type: str) -> tuple[tuple[str, ...], bool]:
    """Return the flags but the fee's, and whether the fee is in base currency."""
    flags = set(_text(given, "oflags", "").split(",")) - {""}
    wrong = (
        not flags <= _FLAGS
        or flags >= {"fciq", "fcib"}
        or ("post" in flags and order_type != LIMIT)
        or ("viqc" in flags and (order_type != MARKET or side != BUY))
    )
    if wrong:
        raise _invalid("oflags")
    if "nompp" in flags and order_type != MARKET:
        raise Refusal(NO_MPP)
    return tuple(sorted(flags - {"fciq", "fcib"})), "fcib" in flags


def _prices(
    given: Mapping[str, object], instrument: Instrument, last: Decimal | None, side: str, order_type: str
) -> tuple[Decimal | Relative | None, Decimal | Relative | None]:
    """Return limit and trigger price. Which fields they come from depends on the order type."""
    triggered, limited = order_type in TRIGGERED, order_type in LIMITED
    price = _text(given, "price", "")
    price2 = _text(given, "price2", "")
    if bool(price) != (triggered or limited):
        raise _invalid("price")
    if bool(price2) != (triggered and limited):
        raise _invalid("price2")
    if order_type in TRAILING:
        offset = _distance(price2, instrument, second=True) if order_type == TRAILING_STOP_LIMIT else None
        return offset, _distance(price, instrument)
    if triggered:
        trigger = read_price(price, instrument, last, side, order_type)
        # A relative limit price is relative to where the order comes alive; Kraken does not say.
        limit = read_price(price2, instrument, trigger, side, LIMIT, second=True) if limited else None
        return limit, trigger
    return (read_price(price, instrument, last, side, order_type) if limited else None), None


def _distance(text: str, instrument: Instrument, *, second: bool = False) -> Relative:
    try:
        distance = parse_distance(text, signed=second)
    except (ValueError, ArithmeticError):
        raise Refusal(INVALID_PRICE2 if second else INVALID_PRICE) from None
    if not second and not distance.amount:
        raise Refusal(INVALID_PRICE)
    if not distance.percent:
        check_price(abs(distance.amount), instrument)
    return distance


def _close(given: Mapping[str, object], instrument: Instrument) -> CloseOrder | None:
    """Return the conditional close; its relative prices wait for the fill, absolute ones are checked now."""
    if not any(name.startswith("close[") for name in given):
        return None
    order_type = _word(given, "close[ordertype]", _CLOSE_TYPES)
    price, price2 = _text(given, "close[price]", ""), _text(given, "close[price2]", "")
    if not price:
        raise _invalid("close[price]")
    if bool(price2) != (order_type in TRIGGERED and order_type in LIMITED):
        raise _invalid("close[price2]")
    for text in filter(None, (price, price2)):
        if text[:1] not in {"+", "-", "#"}:
            read_price(text, instrument, None, SELL, order_type, second=text is price2)
        else:  # its form only: above a tick, no distance can come to nothing
            try:
                resolve_price(f"+{text[1:]}", instrument.tick_size, SELL, order_type, instrument.tick_size)
            except (ValueError, ArithmeticError):
                raise Refusal(INVALID_PRICE2 if text is price2 else INVALID_PRICE) from None
    if order_type in TRAILING:
        _distance(price, instrument)
    return CloseOrder(order_type, price, price2)


def _times(given: Mapping[str, object], now_us: int) -> tuple[str, int | None, int | None]:
    """Return time in force, start and expiry; `expiretm` alone means GTD."""
    time_in_force = _word(given, "timeinforce", (GTC, IOC, GTD), GTC)
    start_us = _time(_text(given, "starttm", "0"), "starttm", now_us)
    expire_us = _time(_text(given, "expiretm", "0"), "expiretm", now_us)
    if start_us is not None and start_us <= now_us:
        start_us = None
    if expire_us is None:
        if time_in_force == GTD:
            raise _invalid("expiretm")
        return time_in_force, start_us, None
    if time_in_force == IOC or expire_us <= (start_us or now_us):
        raise _invalid("expiretm")
    return GTD, start_us, expire_us


def _time(text: str, field: str, now_us: int) -> int | None:
    """Return a time of at most a month ahead: `0` is none, `+n` n seconds from now, else unix seconds."""
    digits = text.removeprefix("+")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 12:
        raise _invalid(field)
    if not int(digits):
        return None
    at_us = int(digits) * _SECOND_US + (now_us if text.startswith("+") else 0)
    if at_us > now_us + MONTH_US:
        raise _invalid(field)
    return at_us


def _references(given: Mapping[str, object]) -> tuple[int, str]:
    userref, cl_ord_id = _text(given, "userref", "0"), _text(given, "cl_ord_id", "")
    if not is_userref(userref):
        raise _invalid("userref")
    if cl_ord_id and "userref" in given:
        raise _invalid("cl_ord_id")
    return int(userref), cl_ord_id


def _word(
    given: Mapping[str, object], field: str, choices: Sequence[str] | frozenset[str], default: str = ""
) -> str:
    word = _text(given, field, default)
    if word not in choices:
        raise _invalid(field)
    return word


def _text(given: Mapping[str, object], field: str, default: str | None = None) -> str:
    value = given.get(field, default)
    if not isinstance(value, str):
        raise _invalid(field)
    return value


def _is_set(given: Mapping[str, object], field: str) -> bool:
    """Return what a true-or-false field says; what says neither is no leave to trade: it is refused."""
    value = given.get(field, False)
    said = _BOOLEANS.get(value.lower()) if isinstance(value, str) else value
    if not isinstance(said, bool):
        raise _invalid(field)
    return said


def _number(text: str) -> Decimal | None:
    if len(text) > 40 or not (text.isascii() and text.replace(".", "", 1).isdigit()):
        return None
    return Decimal(text)


def _fits(number: Decimal, decimals: int) -> bool:
    """Whether a number has no digit but zeros beyond so many decimals."""
    return not number % Decimal(1).scaleb(-decimals) if number < Decimal(10) ** (26 - decimals) else False


def _invalid(field: str) -> Refusal:
    return Refusal(f"EGeneral:Invalid arguments:{field}")
