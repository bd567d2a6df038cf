"""Requests of API v1 as the exchange reads them: checked by the catalog, refused in Kraken's words.

What may be said stands in the catalog alone; here stands only how Kraken says no. Source: v1.md section 8.
"""

from __future__ import annotations

from krakenws.core.catalog import PRIVATE
from krakenws.core.kinds import BOOLEAN, BOOLEAN_TEXT, WORDS
from krakenws.errors import RequestRejected

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from krakenws.core.catalog import Entry, Param, Values
    from krakenws.core.kinds import Value

_NOT_OPTIONS = {"pair", "reqid"}
_TYPES: dict[object, type] = {"string": str, "integer": int, "boolean": bool, "array": list}
_SAID = {"true": True, "false": False}
"""A boolean may come as text: Kraken's own examples quote `ratecounter` and `validate` (v1.md 5.4, 9.1)."""


class Refusal(RequestRejected):
    """The exchange says no: `code` is the `errorMessage` as Kraken words it."""

    def __init__(self, code: str) -> None:
        super().__init__(code, code)


def given_fields(message: dict[str, Any]) -> dict[str, Any]:
    """Return a request without its nulls: how many JSON libraries write a field that was not given."""
    return {field: value for field, value in message.items() if value is not None}


def is_reqid(value: object) -> bool:
    """Whether a value is a request number: an unsigned integer of 64 bits."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 64


def token_of(fields: dict[str, Any]) -> str:
    """Return the token among the fields of a request.

    Raises:
        Refusal: there is none.
    """
    token = fields.get("token")
    if token is None:
        raise Refusal("Token(s) not found")
    if not isinstance(token, str):
        raise Refusal("Token field must be a string")
    return token


def wrong_type(field: str, param: Param) -> Refusal:
    """Return the refusal of a field that has another JSON type than its parameter."""
    kind = str(param.kind.schema["type"])
    return Refusal(f"{field.capitalize()} field must be {'an' if kind[0] in 'ai' else 'a'} {kind}")


def check_pair(pair: object) -> None:
    """Refuse what is no BASE/QUOTE."""
    if not isinstance(pair, str):
        raise Refusal("Malformed request")
    base, _, quote = pair.partition("/")
    if not base or not quote or "/" in quote:
        raise Refusal(f"Currency pair not in ISO 4217-A3 format {pair}")


def channel_values(entry: Entry, asked: dict[str, Any], message_type: str) -> Values:
    """Return a channel's parameters, defaults filled in; other channels' fields are refused (quirk F2).

    A null is a field that was not given, but for the interval of ohlc: an error string of Kraken's fits that.
    """
    params = [param for param in entry.params if param.name not in _NOT_OPTIONS]
    known = {param.name for param in params} | {"name"} | ({"token"} if entry.access == PRIVATE else set())
    for field, value in asked.items():
        if field not in known and value is not None:
            raise Refusal(f"Unsupported field: '{field}' for the given msg type: {message_type}")
    values: Values = {}
    for param in params:
        value = asked.get(param.name)
        if value is None and param.name == "interval" and param.name in asked:
            raise Refusal("Subscription ohlc requires interval")
        if value is None:
            value = param.default
        if param.choices:
            name = f"{entry.name} {param.name}" if entry.name == "ohlc" else param.name
            if not _has_type(param, value):
                raise Refusal(f"Subscription {entry.name} {param.name} must be an integer")
            if value not in param.choices:
                raise Refusal(f"Subscription {name} not supported")
        elif isinstance(value, str) and value in _SAID:
            value = _SAID[value]
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
        values[field] = _value(params[field], field, value)
    for field, param in params.items():
        if param.required and field not in values:
            raise Refusal(f"EGeneral:Invalid arguments:{field}")
    for rule in entry.rules:
        wrong = rule(values)
        if wrong:
            raise Refusal(f"EGeneral:Invalid arguments:{wrong[0]}")
    return values


def _value(param: Param, field: str, value: Value) -> Value:
    """Return a field's value, of its type on the wire; what it cannot be is refused."""
    if param.kind is BOOLEAN or param.kind is BOOLEAN_TEXT:
        said = _SAID.get(value, value) if isinstance(value, str) else value
        if isinstance(said, bool):
            return said
    if not _has_type(param, value):
        raise wrong_type(field, param)
    if not _is_valid(param, value):
        raise Refusal(f"EGeneral:Invalid arguments:{field}")
    return value


def _is_valid(param: Param, value: Any) -> bool:
    """Whether a value of the right type parses, and is one of the parameter's choices."""
    if isinstance(value, list):
        return bool(value) and all(isinstance(item, str) and item for item in value)
    if isinstance(value, int):
        is_choice = not param.choices or value in param.choices
        return is_choice and value >= param.at_least
    try:
        param.kind.parse(value)
    except ValueError:
        return False
    words = value.split(",") if param.kind is WORDS else [value]
    return not param.choices or words == [""] or all(word in param.choices for word in words)
