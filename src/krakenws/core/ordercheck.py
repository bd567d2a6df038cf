"""What is wrong with an order before it is sent: its pair's rules, and its times.

The catalog looks at words by themselves and in combination (`catalog.bind`, the rules in `v1_entries.py`);
here they meet what the exchange says of the pair (`PairRow`, from AssetPairs) and the clock. Nothing is
rounded: what does not fit is refused, with the rule and the nearest values that do. Where it cannot be known
whether a rule holds (relative prices, orders edited that nobody has looked at), the exchange decides.

Source: v1.md 9.1 to 9.3; auth.md 5.3; quirk O13.
"""

from __future__ import annotations

from math import lcm

from krakenws.core.catalog import shown
from krakenws.core.exact import parts, scale_of, text_of, trimmed, units

TYPE_CHECKING = False
if TYPE_CHECKING:
    from krakenws.core.catalog import Bound, Values, Wrong
    from krakenws.core.pair import PairRow

_PRICES = ("price", "price2", "close[price]", "close[price2]", "limit_price", "trigger_price")
_VOLUMES = ("volume", "display_volume")
_OPEN = "online"
_CLOSED = {
    "cancel_only": "orders can only be cancelled",
    "delisted": "it is no longer traded",
    "maintenance": "the exchange is in maintenance",
}
_MONTH_S = 31 * 86400
_DEADLINE_S = (0.5, 60.0)


def wrong_for_pair(bound: Bound, pair: PairRow, best: str = "") -> Wrong | None:
    """Return what the rules of its pair have against a command of `v1_entries.PLACING`, or None.

    Args:
        bound: the command with its values.
        pair: the pair it names.
        best: the price at which a market order would begin to fill, if it is known.
    """
    values = bound.values
    adding = bound.entry.name == "addOrder"
    wrong = None if pair.status == _OPEN else _wrong_status(values, pair, adding=adding)
    if not wrong and adding and ("leverage" in values or "margin" in values):
        wrong = _wrong_leverage(values, pair)
    for name in _PRICES:
        if not wrong and name in values:
            wrong = wrong_price(name, values, pair)
    is_viqc = "oflags" in values and "viqc" in _given(values, "oflags").split(",")
    may_be_small = _may_be_small(values)
    if not is_viqc:  # for a volume in quote currency Kraken documents no rules
        for name in _VOLUMES:
            if not wrong and name in values:
                wrong = _wrong_volume(name, values, pair, may_be_small=may_be_small)
    if wrong or may_be_small:
        return wrong
    return _too_cheap(values, pair, best, is_viqc=is_viqc)


def wrong_time(bound: Bound, now_s: float) -> Wrong | None:
    """Return which time of a command of `v1_entries.PLACING` cannot be kept, or None.

    Args:
        bound: the command with its values.
        now_s: seconds since 1970.
    """
    values = bound.values
    wrong = _wrong_deadline(values, now_s) if "deadline" in values else None
    return wrong or (_wrong_expiry(values, now_s) if "expiretm" in values else None)


def is_relative(price: str) -> bool:
    """Whether a price is relative (`+5`, `-1%`, `#10`): the exchange makes a price of it."""
    return not price[:1].isdigit() or price.endswith("%")


def _given(values: Values, name: str) -> str:
    value = values.get(name, "")
    return value if isinstance(value, str) else ""


# ---- the pair


def _wrong_status(values: Values, pair: PairRow, *, adding: bool) -> Wrong | None:
    """Of a status that nobody here knows, the exchange is to judge. Source: auth.md 5.3."""
    status, name = pair.status or "", pair.wsname
    if status in _CLOSED:
        return "pair", f"{name} takes no orders now: it is {status}, {_CLOSED[status]}"
    if not adding:
        return None
    type_ = values["ordertype"]
    if status == "limit_only" and type_ != "limit":
        return "ordertype", f"{name} is limit_only now: it takes ordertype=limit, not ordertype={type_}"
    if status == "post_only" and "post" not in _given(values, "oflags").split(","):
        return "oflags", f"{name} is post_only now: it takes orders with ordertype=limit oflags=post"
    if status == "reduce_only" and not values.get("reduce_only") and type_ != "settle-position":
        return "reduce_only", f"{name} is reduce_only now: it takes orders with reduce_only=true"
    return None


def _wrong_leverage(values: Values, pair: PairRow) -> Wrong | None:
    field = "leverage" if "leverage" in values else "margin"
    if not values.get(field):
        return None
    side = values["type"]
    highest = pair.leverage_buy if side == "buy" else pair.leverage_sell
    if not highest:
        return field, f"{pair.wsname} offers no margin to type={side}: leave {field}= out for a spot order"
    leverage = _given(values, "leverage")
    if leverage and int(leverage) > highest:
        return field, (
            f"leverage={shown(leverage)} is more than {pair.wsname} offers to type={side}:"
            f" the highest is {highest}"
        )
    return None


# ---- prices and volumes


def wrong_price(name: str, values: Values, pair: PairRow) -> Wrong | None:
    """Return what is wrong with the price of that name; one that is relative or not given is right.

    A price has to be a multiple of the tick size and to have no more decimals than the pair: in most pairs
    that is the same, in some the tick is coarser (quirk O13).
    """
    price = values.get(name)
    decimals, tick = pair.pair_decimals, pair.tick_size or "0"
    size, tick_scale = parts(tick)
    if not price or not isinstance(price, str) or is_relative(price) or (decimals is None and not size):
        return None
    number, scale = parts(price)
    is_short = decimals is None or scale <= decimals
    if is_short and (not size or not number * 10**tick_scale % (size * 10**scale)):
        return None
    if is_short:
        rule = f"is off the tick of {pair.wsname}, {tick}"
    else:
        rule = f"has {_decimals(scale)}, {pair.wsname} takes {decimals or 'none'}"
    grain = tick if decimals is None else text_of(1, decimals)
    tick = tick if size else grain
    scale = scale_of(price, grain, tick)
    step = lcm(units(grain, scale), units(tick, scale))
    nearest = _nearest(units(price, scale), scale, step=step, lowest=step, decimals=decimals)
    return name, f"{name}={shown(price)} {rule}: the nearest legal price{nearest}"


def _wrong_volume(name: str, values: Values, pair: PairRow, *, may_be_small: bool) -> Wrong | None:
    volume, decimals = values[name], pair.lot_decimals
    if not volume or not isinstance(volume, str):
        return None
    least = "0" if may_be_small or name != "volume" else pair.ordermin or "0"
    (number, scale), (lowest, least_scale) = parts(volume), parts(least)
    if decimals is None or scale <= decimals:
        if number * 10**least_scale < lowest * 10**scale:
            return name, (
                f"{name}={shown(volume)} is below the least of {pair.wsname}: that is {trimmed(least)}"
            )
        return None
    has = f"has {_decimals(scale)}, {pair.wsname} takes {decimals or 'none'}"
    scale = max(scale, least_scale)
    number, lowest, step = units(volume, scale), units(least, scale), units(text_of(1, decimals), scale)
    nearest = _nearest(number, scale, step=step, lowest=max(step, -(-lowest // step) * step))
    return name, f"{name}={shown(volume)} {has}: the nearest legal volume{nearest}"


def _too_cheap(values: Values, pair: PairRow, best: str, *, is_viqc: bool) -> Wrong | None:
    """The least cost, where the price is known: of a limit, or of the market if somebody has looked.

    Source: auth.md 5.3, `costmin`.
    """
    volume, costmin = values.get("volume"), pair.costmin
    if not volume or not isinstance(volume, str) or not costmin or "ordertype" not in values:
        return None
    (number, scale), (least_cost, least_scale) = parts(volume), parts(costmin)
    price, price_scale = "", 0
    paid = 1  # a volume in quote currency is what it costs
    if not is_viqc:
        type_ = values["ordertype"]
        given = values.get("price") if type_ == "limit" else best if type_ == "market" else ""
        if not given or not isinstance(given, str) or is_relative(given):
            return None
        price = given
        paid, price_scale = parts(price)
    if paid * number * 10**least_scale >= least_cost * 10 ** (price_scale + scale):
        return None
    name, quote = pair.wsname, pair.wsname.partition("/")[2]
    if not price:
        return "volume", f"volume={shown(volume)} is below the least cost of {name}, {costmin} {quote}"
    volume_scale = max(scale, pair.lot_decimals or 0)
    scale = max(price_scale + volume_scale, least_scale)
    finer = 10 ** (scale - price_scale - volume_scale)
    unit_cost, least_cost = paid * finer, units(costmin, scale)
    cost = unit_cost * units(volume, volume_scale)
    least = trimmed(text_of(-(-least_cost // unit_cost), volume_scale))
    return "volume", (
        f"volume={shown(volume)} at {shown(price)} costs {shown(trimmed(text_of(cost, scale)))} {quote},"
        f" below the least cost of {name}, {costmin} {quote}: at this price the least legal volume is {least}"
    )


def _may_be_small(values: Values) -> bool:
    """What only reduces or settles a position may be smaller than an order that opens one.

    An amendment may be, too: below what is filled, it cancels the rest (v1.md 9.2).
    """
    amends = "ordertype" not in values and "orderid" not in values
    return amends or bool(values.get("reduce_only")) or values.get("ordertype") == "settle-position"


def _decimals(count: int) -> str:
    return f"{count} decimal{'' if count == 1 else 's'}"


def _nearest(number: int, scale: int, *, step: int, lowest: int, decimals: int | None = None) -> str:
    """Say (" is …", "s are … and …") which multiples of `step` are nearest to a number that is none.

    All are units of `scale`. None is below `lowest`. `decimals` are written, or as few as it takes.
    """
    below = number - number % step
    found = [text_of(each, scale) for each in (below, below + step) if each >= lowest]
    legal = [
        trimmed(text) if decimals is None else text_of(units(text, decimals), decimals)
        for text in found or [text_of(lowest, scale)]
    ]
    return f"s are {legal[0]} and {legal[1]}" if len(legal) > 1 else f" is {legal[0]}"


# ---- times


def _wrong_deadline(values: Values, now_s: float) -> Wrong | None:
    """Source: v1.md 9.1: half a second to a minute ahead."""
    text = _given(values, "deadline")
    if not text:
        return None
    from datetime import datetime

    ahead_s = datetime.fromisoformat(text).timestamp() - now_s
    shortest_s, longest_s = _DEADLINE_S
    if ahead_s <= 0:
        return "deadline", f"deadline={text} has passed: here it is {_clock(now_s)}"
    if ahead_s < shortest_s:
        return "deadline", f"deadline={text} is too near: the first legal one is {_clock(now_s + shortest_s)}"
    if ahead_s > longest_s:
        return "deadline", f"deadline={text} is too far: the last legal one is {_clock(now_s + longest_s)}"
    return None


def _wrong_expiry(values: Values, now_s: float) -> Wrong | None:
    """Source: v1.md 9.1: `0` none, `+n` seconds from now, else unix time; at most a month ahead."""
    text = _given(values, "expiretm")
    if not text:
        return None
    seconds = int(text)
    if not seconds:
        wrong = values.get("timeinforce") == "GTD"
        return ("expiretm", f"timeinforce=GTD needs a time, and expiretm={text} is none") if wrong else None
    begin_s, at_s = _moment(_given(values, "starttm"), now_s), _moment(text, now_s)
    if at_s <= now_s:
        return "expiretm", f"expiretm={shown(text)} has passed: here it is {int(now_s)}, {_clock(now_s)}"
    if at_s <= begin_s:
        return "expiretm", f"expiretm={shown(text)} is not after starttm={values['starttm']}"
    if at_s > now_s + _MONTH_S:
        last = f"+{_MONTH_S}" if text.startswith("+") else int(now_s) + _MONTH_S
        return "expiretm", f"expiretm={shown(text)} is more than a month ahead: the last legal one is {last}"
    return None


def _moment(text: str, now_s: float) -> float:
    """Return the unix time that `expiretm` or `starttm` means; 0 for none."""
    seconds = int(text or 0)
    return now_s + seconds if seconds and text.startswith("+") else float(min(seconds, 10**15))


def _clock(at_s: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
