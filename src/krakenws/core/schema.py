"""JSON Schema of everything that `-o json` writes: made from the rows, the events and the catalog.

What a field means is read where it is declared, so this cannot say anything else than the program does.
"""

from __future__ import annotations

from inspect import getdoc
from typing import TYPE_CHECKING, Any

from krakenws.core import events
from krakenws.core.catalog import CHANNEL
from krakenws.core.rows import ROWS, schema_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from krakenws.core.catalog import Entry

Schema = dict[str, Any]
_TEXT: Schema = {"type": "string"}
_WHOLE: Schema = {"type": "integer"}
_TIME: Schema = {"type": "string", "format": "date-time"}
_OBJECT: Schema = {"type": "object"}
_TYPES: dict[str, Schema] = {
    "str": _TEXT,
    "int": _WHOLE,
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "Mapping[str, Any]": _OBJECT,
    "list[dict[str, Any]]": {"type": "array", "items": _OBJECT},
}
_EVENTS = (
    events.Connected,
    events.Disconnected,
    events.Status,
    events.Pong,
    events.Subscribed,
    events.Unsubscribed,
    events.Refused,
    events.Deferred,
    events.Reply,
    events.Rejected,
    events.Unanswered,
    events.DryRun,
    events.Gap,
    events.Backfilled,
    events.Untrusted,
    events.Lagging,
    events.Violation,
    events.Summary,
    events.Met,
)
_OUTCOMES: dict[type, Schema] = {
    events.Reply: {"success": {"const": True}, "outcome": {"const": "accepted"}},
    events.Rejected: {"success": {"const": False}, "outcome": {"const": "rejected"}},
    events.Unanswered: {"outcome": {"const": "unknown"}},
}
_RATE: Schema = {
    "description": "The account's rate counter on a pair after the request, foretold; ceiling: if known.",
    "type": "object",
    "properties": {"symbol": _TEXT, "counter": _WHOLE, "ceiling": _WHOLE},
    "required": ["symbol", "counter"],
}
_NUMBERS = {"depth": _WHOLE, "interval": _WHOLE}


def schema(entries: Iterable[Entry]) -> Schema:
    """Return the JSON Schema (draft 2020-12) of one line of `-o json`.

    Args:
        entries: the catalog: each of its channels has updates.
    """
    channels = {(entry.name, entry.rows): entry for entry in entries if entry.kind == CHANNEL and entry.rows}
    types = {rows: ROWS[rows] for _, rows in channels}
    references, definitions = schema_of(list(types.values()))
    row_of = dict(zip(types, references, strict=True))
    definitions |= {
        f"update_{name}": _update(entry, row_of[rows]) for (name, rows), entry in channels.items()
    }
    definitions |= {event.__name__.lower(): _event(event) for event in _EVENTS}
    definitions["error"] = _error()
    lines = [name for name, value in definitions.items() if "event" in value.get("properties", {})]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "One line of krakenws -o json",
        "oneOf": [{"$ref": f"#/$defs/{name}"} for name in lines],
        "$defs": definitions,
    }


def _object(description: str, properties: Schema, optional: Iterable[str] = ()) -> Schema:
    return {
        "description": description,
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
    }


def _update(entry: Entry, row: Schema) -> Schema:
    properties: Schema = {
        "event": {"const": "update"},
        "channel": {"const": entry.name},
        "type": {"enum": ["snapshot", "update"]},
    }
    if entry.pairs:
        properties["symbol"] = _TEXT
    properties |= {name: {"enum": list(param.choices)} for name in _NUMBERS if (param := entry.param(name))}
    properties["received"] = _TIME
    if entry.rows == "Level":
        properties["trust"] = {"enum": list(events.TRUSTS)}
    properties["data"] = {"type": "array", "items": row}
    return _object(entry.help, properties)


def _event(event: type[events.Event]) -> Schema:
    properties: Schema = {"event": {"const": event.name}}
    optional: list[str] = []
    for owner in (event.__mro__[1], event):
        for name, annotation in owner.__annotations__.items():
            if name == "received_ns":
                continue
            plain = annotation.removesuffix(" | None")
            shown = name.removesuffix("_ns")
            properties[shown] = _TIME if name.endswith("_ns") else _RATE if name == "rate" else _TYPES[plain]
            if plain != annotation or name in vars(owner) or name in {"channel", "symbol"}:
                optional.append(shown)
            if name == "symbol":
                properties |= _NUMBERS
                optional += _NUMBERS
        if owner is not event and event in _OUTCOMES:
            properties |= _OUTCOMES[event]
    if event is events.Gap:
        properties["to"] = {"anyOf": [_TIME, {"type": "null"}]}
        optional.remove("to")
    properties["received"] = _TIME
    return _object(getdoc(event) or "", properties, optional)


def _error() -> Schema:
    return _object(
        "What ended the run. `code` is the exit code; `retryable` whether trying again can help.",
        {"event": {"const": "error"}, "code": _WHOLE, "message": _TEXT, "retryable": {"type": "boolean"}},
    )
