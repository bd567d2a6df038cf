"""Kinds of values: how their text is read, to what goes on the wire or to what is wrong with it."""

from __future__ import annotations

from krakenws.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Value = str | int | bool | list[str]

PAIR_ALIASES: dict[int, dict[str, str]] = {
    1: {"BTC": "XBT", "DOGE": "XDG"},
    2: {"XBT": "BTC", "XDG": "DOGE"},
}
"""Asset names users carry from one API to the other (quirks A1, A2). No other name is translated."""

_QUOTES = ("USDT", "USDC", "USD", "EUR", "GBP", "CAD", "JPY", "AUD", "CHF", "XBT", "BTC", "ETH", "DAI")
_FORBIDDEN = frozenset("\"'`\\")
_LONGEST_NUMBER = 40
_RFC_3339 = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{3})?(Z|[+-][0-9]{2}:[0-9]{2})"


@record
class Kind:
    """How the text of a value is read.

    `parse` gives the value as it goes on the wire, or raises `ValueError` with words that follow "price=… ".
    `word` names the kind in help; `schema` is its JSON Schema on the wire; `takes_decimals`: decimal text
    that is not zero is its own value.
    """

    word: str
    parse: Callable[[str], Value]
    schema: Mapping[str, object]
    takes_decimals: bool = False


def _text(text: str) -> str:
    if not text:
        raise ValueError("is empty")
    if text.isprintable() and _FORBIDDEN.isdisjoint(text):
        return text
    for character in text:
        if character in _FORBIDDEN:
            raise ValueError(f"contains {character}, which no Kraken value does")
        if not character.isprintable():
            raise ValueError(f"contains the control character U+{ord(character):04X}")
    return text


def is_digits(text: str) -> bool:
    """Whether it is ASCII digits and nothing else."""
    return text.isascii() and text.isdigit()


def _decimal(text: str) -> str:
    whole, dot, fraction = text.partition(".")
    if not whole or (dot and not fraction) or not is_digits(whole + fraction):
        _text(text)
        hint = ""
        if any(map(str.isdigit, text)):
            if "e" in text.lower():
                hint = "; write it out, without an exponent"
            elif "," in text or "_" in text:
                hint = "; a point stands before decimals, and nothing between thousands"
        raise ValueError(f"is not a decimal number such as 0.125{hint}")
    if len(text) > _LONGEST_NUMBER:
        raise ValueError(f"has more than {_LONGEST_NUMBER} characters, and no market such a number")
    return text


def is_zero(number: str) -> bool:
    """Whether decimal text is zero, however it is written."""
    return not number.strip("0.")


def _amount(text: str) -> str:
    if is_zero(_decimal(text)):
        raise ValueError("is zero")
    return text


def _number_of(price: str) -> str:
    """Return the digits of a price, which may be relative (`+1.5%`, `#1%`). Source: v1 addOrder, `price`."""
    number = price.removesuffix("%")
    number = number[1:] if number[:1] in {"+", "-", "#"} else number
    try:
        return _decimal(number)
    except ValueError as error:
        _text(price)
        what = error if number else "has no number"
        raise ValueError(f"{what} (a price may begin with +, - or # and end with %)") from None


def _price(text: str) -> str:
    if is_zero(_number_of(text)):
        raise ValueError("is zero")
    return text


def _limit(text: str) -> str:
    """A limit price behind a trigger: `+0` is the trigger price itself."""
    if is_zero(_number_of(text)) and text[0].isdigit():
        raise ValueError("is zero")
    return text


def _leverage(text: str) -> str:
    if not is_digits(_text(text)) or text[0] == "0" or text == "1" or len(text) > 9:
        raise ValueError("is not a whole number of 2 or more, such as 5")
    return text


def _integer(text: str) -> int:
    if not is_digits(text):
        raise ValueError("is not a whole number")
    if len(text) > 20 or int(text) >= 1 << 64:
        raise ValueError("is larger than 18446744073709551615")
    return int(text)


def _int32_text(text: str) -> str:
    digits = text.removeprefix("-")
    if not is_digits(digits) or len(digits) > 10 or not -(1 << 31) <= int(text) < 1 << 31:
        raise ValueError("is not a whole number of 32 bits")
    return text


_BOOLEANS = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}


def _boolean(text: str) -> bool:
    try:
        return _BOOLEANS[text.lower()]
    except KeyError:
        raise ValueError("is neither true nor false") from None


def _boolean_text(text: str) -> str:
    return "true" if _boolean(text) else "false"


def _list(text: str) -> list[str]:
    return [_text(item.strip(" ")) for item in items(text)]


def items(text: str) -> list[str]:
    """Return what stands between the commas.

    Raises:
        ValueError: nothing does.
    """
    found = text.split(",")
    if len(found) > 1 and not all(map(str.strip, found)):
        raise ValueError("has an empty item")
    return found


def _words(text: str) -> list[str]:
    """Source: v1 editOrder, `oflags`: an empty string is allowed there and clears the flags."""
    return _list(text) if text else []


def _time(text: str) -> str:
    if not is_digits(text.removeprefix("+")) or len(text) > 12:
        raise ValueError("is neither 0, +SECONDS nor a unix time")
    return text


_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "": 1.0}


def duration(text: str) -> float:
    """Return the seconds of a time such as `10s`, `5m` or `1h`; a bare number is seconds.

    Raises:
        ValueError: it is none; the text goes on behind it.
    """
    number = text.rstrip("mshd")
    unit = text[len(number) :]
    whole, _, fraction = number.partition(".")
    digits = whole + fraction
    if (
        unit not in _UNITS
        or not digits.isascii()
        or not digits.isdigit()
        or len(digits) > 15
        or not float(number)
    ):
        raise ValueError("is not a duration such as 10s, 5m or 1h")
    return float(number) * _UNITS[unit]


def _timestamp(text: str) -> str:
    """Source: RFC 3339 5.6; v1 addOrder, `deadline`: with milliseconds at most."""
    import re
    from datetime import datetime

    try:
        if re.fullmatch(_RFC_3339, text):
            datetime.fromisoformat(text)
            return text
    except ValueError:
        pass  # the 30th of February
    raise ValueError("is not a time such as 2026-11-22T10:00:00.000Z")


def _client_id(text: str) -> str:
    """Source: v1 addOrder, `cl_ord_id`: a UUID with dashes, 32 hexadecimal digits, or up to 18 characters."""
    bare = text.replace("-", "")
    is_hex = len(bare) == 32 and all(c in "0123456789abcdefABCDEF" for c in bare)
    if not (is_hex and len(text) in {32, 36}) and not (text.isascii() and len(text) <= 18):
        raise ValueError("is neither a UUID, 32 hexadecimal digits nor at most 18 ASCII characters")
    return _text(text)


_STRING = {"type": "string"}
_DECIMAL_SCHEMA = {"type": "string", "pattern": r"^\d+(\.\d+)?$"}
_PRICE_SCHEMA = {"type": "string", "pattern": r"^[+#-]?\d+(\.\d+)?%?$"}
TEXT = Kind("text", _text, _STRING)
AMOUNT = Kind("decimal", _amount, _DECIMAL_SCHEMA, takes_decimals=True)
AMOUNT_OR_ZERO = Kind("decimal", _decimal, _DECIMAL_SCHEMA, takes_decimals=True)
PRICE = Kind("price", _price, _PRICE_SCHEMA, takes_decimals=True)
LIMIT = Kind("price", _limit, _PRICE_SCHEMA, takes_decimals=True)
"""The second price of an order."""
LEVERAGE = Kind("integer", _leverage, {"type": "string", "pattern": r"^[1-9]\d*$"})
INTEGER = Kind("integer", _integer, {"type": "integer", "minimum": 0})
INT32_TEXT = Kind("integer", _int32_text, {"type": "string", "pattern": r"^-?\d{1,10}$"})
BOOLEAN = Kind("true|false", _boolean, {"type": "boolean"})
BOOLEAN_TEXT = Kind("true|false", _boolean_text, {"type": "string", "enum": ["true", "false"]})
WORD = Kind("word", _text, _STRING)
WORDS = Kind("word,…", _words, _STRING)
"""A comma list that also is comma text on the wire (`oflags`)."""
IDS = Kind("id,…", _list, {"type": "array", "items": _STRING})
TIME = Kind("time", _time, _STRING)
TIMESTAMP = Kind(
    "timestamp", _timestamp, {"type": "string", "format": "date-time", "pattern": f"^{_RFC_3339}$"}
)
CLIENT_ID = Kind("id", _client_id, _STRING)
PAIR = Kind("BASE/QUOTE", _text, {"type": "string", "pattern": "^[^/]+/[^/]+$"})
PAIRS = Kind("BASE/QUOTE…", _list, {"type": "array", "items": {"type": "string"}})


def normal_pair(text: str, api: int) -> str:
    """Return a pair in the API's own spelling: upper case, `BTC`/`XBT` and `DOGE`/`XDG` as that API has them.

    Raises:
        ValueError: it is no BASE/QUOTE; the text says what is nearest.

    Source: quirks A1, A6; v1.md section 12.
    """
    _text(text)
    base, slash, quote = text.upper().partition("/")
    if slash and text[: len(base)] == f"{base[:-1]}x":
        base = text[: len(base)]  # AAPLx/USD: the one lower-case letter that Kraken's names have
    if not slash:
        found = _with_slash(text.upper())
        raise ValueError(
            "is not BASE/QUOTE"
            + (f"; did you mean {normal_pair(found, api)}?" if found else ", such as XBT/USD")
        )
    if not base or not quote or "/" in quote or " " in text:
        raise ValueError("is not BASE/QUOTE, such as XBT/USD")
    names = PAIR_ALIASES[api]
    return f"{names.get(base, base)}/{names.get(quote, quote)}"


def _with_slash(text: str) -> str | None:
    for separator in "-_:|":
        base, found, quote = text.partition(separator)
        if found and base.isalnum() and quote.isalnum():
            return f"{base}/{quote}"
    quote = next((name for name in _QUOTES if text.endswith(name) and len(text) > len(name) + 1), "")
    return f"{text.removesuffix(quote)}/{quote}" if quote and text.isalnum() else None
