"""Requests of API v1 as the exchange reads them: checked by the catalog, refused in Kraken's words.

What may be said stands in the catalog alone; here stands only how Kraken says no. Source: v1.md section 8.
"""

from __future__ import annotations

from re import findall

from krakenws.core.catalog import BOOLEAN_TEXT, PRIVATE, WORDS
from krakenws.errors import RequestRejected

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any

    from krakenws.core.catalog import Entry, Param, Values

_NOT_OPTIONS = {"pair", "reqid"}
_TYPES: dict[object, type] = {"string": str, "integer": int, "boolean": bool, "array": list}


class Refusal(RequestRejected):
    """The exchange says no: `code` is the `errorMessage` as Kraken words it."""

    def __init__(self, code: str) -> None:
        super().__init__(code, code)


def is_reqid(value: object) -> bool:
    """Whether a value is a request number: an unsigned integer of 64 bits."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 64


def token_of(fields: dict[str, Any]) -> str:
    """Return the token among the fields of a request.

    Raises:
        Refusal: there is none.
    """
    token = fields.get("token")
    if not isinstance(token, str):
        raise Refusal("Token(s) not found")
    return token


def check_pair(pair: object) -> None:
    """Refuse what is no BASE/QUOTE."""
    if not isinstance(pair, str):
        raise Refusal("Malformed request")
    base, _, quote = pair.partition("/")
    if not base or not quote or "/" in quote:
        raise Refusal(f"Currency pair not in ISO 4217-A3 format {pair}")


def channel_values(entry: Entry, asked: dict[str, Any], message_type: str) -> Values:
    """Return a channel's parameters, defaults filled in; other channels' fields are refused (quirk F2)."""
    params = [param for param in entry.params if param.name not in _NOT_OPTIONS]
    known = {param.name for param in params} | {"name"} | ({"token"} if entry.access == PRIVATE else set())
    for field in asked:
        if field not in known:
            raise Refusal(f"Unsupported field: '{field}' for the given msg type: {message_type}")
    values: Values = {}
    for param in params:
        value = asked.get(param.name, param.default)
        if param.choices:
            name = f"{entry.name} {param.name}" if entry.name == "ohlc" else param.name
            if not _has_type(param, value):
                raise Refusal(f"Subscription {entry.name} {param.name} must be an integer")
            if value not in param.choices:
                raise Refusal(f"Subscription {name} not supported")
        elif value in ("true", "false"):  # Kraken's own example quotes a boolean: v1.md 5.4
            value = value == "true"
        elif not _has_type(param, value):
            raise Refusal(f"Subscription {param.name} must be a boolean")
        if value is not None:
            values[param.name] = value
    return values


def _has_type(param: Param, value: object) -> bool:
    return type(value) is _TYPES[param.kind.schema["type"]]  # a bool would pass for an int


def command_values(entry: Entry, message: dict[str, Any]) -> Values:
    """Return a command's parameters, checked by the catalog's own rules.

    Empty text means "not given", as third-party clients rely on; only flags can be cleared by it.
    """
    params = {param.wire or param.name: param for param in reversed(entry.params)}
    values: Values = {}
    for field, value in message.items():
        if field in {"event", "token", "reqid"}:
            continue
        if field not in params:
            spoken = "".join(f" {c.lower()}" if c.isupper() else c for c in entry.name)
            raise Refusal(f"Unsupported field: '{field}' for the given msg type: {spoken}")
        if value == "":
            if field == "oflags":
                values[field] = value
            continue
        if not _is_valid(params[field], value):
            raise Refusal(f"EGeneral:Invalid arguments:{field}")
        values[field] = value
    for field, param in params.items():
        if param.required and field not in values:
            raise Refusal(f"EGeneral:Invalid arguments:{field}")
    for rule in entry.rules:
        wrong = rule(values)
        if wrong:
            raise Refusal(f"EGeneral:Invalid arguments{_field_of(wrong, params)}")
    return values


def _field_of(sentence: str, params: Collection[str]) -> str:
    """Return `:field` for the field that a rule's sentence is about, as Kraken does not speak our sentences.

    It is the first one named; after the order type, the field that does not go with it.
    """
    named = [word for word in findall(r"[a-z_]+\d?(?:\[\w+\])?", sentence) if word in params]
    others = [word for word in named if word.removeprefix("close[").rstrip("]") != "ordertype"]
    return "".join(f":{word}" for word in (others or named)[:1])


def _is_valid(param: Param, value: object) -> bool:
    """Whether a value has the parameter's type on the wire, parses, and is one of its choices."""
    if param.kind is BOOLEAN_TEXT and isinstance(value, bool):
        return True
    if not _has_type(param, value):
        return False
    if isinstance(value, list):
        return bool(value) and all(isinstance(item, str) and item for item in value)
    if isinstance(value, int):
        return value >= param.at_least and (not param.choices or value in param.choices)
    try:
        param.kind.parse(str(value))
    except ValueError:
        return False
    words = str(value).split(",") if param.kind is WORDS else [str(value)]
    return not param.choices or words == [""] or all(word in param.choices for word in words)
