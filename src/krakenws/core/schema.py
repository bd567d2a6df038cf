"""JSON Schema of everything that `-o json` writes: made from the rows, the events and the catalog.

What a field means is read where it is declared, so this cannot say anything else than the program does.
"""

from __future__ import annotations

from inspect import getdoc
from typing import TYPE_CHECKING, Any

from krakenws.core import events, session
from krakenws.core.catalog import CHANNEL
from krakenws.core.intents import NAMES
from krakenws.core.kinds import AMOUNT, BOOLEAN, INTEGER, PRICE, WORDS
from krakenws.core.rows import ROWS, schema_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from krakenws.core.catalog import Entry, Param
    from krakenws.core.kinds import Kind

Schema = dict[str, Any]
_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_ID: Schema = {
    "description": "What the caller of a session named its line; absent, where it gave no name.",
    "oneOf": [
        {"type": "string", "minLength": 1, "maxLength": 200},
        {"type": "integer", "minimum": 1 - 10**15, "maximum": 10**15 - 1},
    ],
}
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
    session.Session,
    session.Help,
    session.Bye,
    session.Listening,
)
_ANSWERS = {
    events.Pong,
    events.Subscribed,
    events.Unsubscribed,
    events.Refused,
    events.Reply,
    events.Rejected,
    events.Unanswered,
    session.Session,
    session.Help,
    session.Bye,
}
"""What carries the `id` of a session's caller."""
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
    definitions |= {"error": _error(), "check": _check(), "checked": _checked()}
    definitions["id"] = _ID
    lines = [name for name, value in definitions.items() if "event" in value.get("properties", {})]
    return {
        "$schema": _DRAFT,
        "title": "One line of krakenws -o json",
        "oneOf": [{"$ref": f"#/$defs/{name}"} for name in lines],
        "$defs": definitions,
    }


_INTENT: Schema = {
    "type": "string",
    "pattern": "^[!-~]{1,64}$",
    "description": f"{NAMES}: used again, it is answered with the first verdict, nothing is sent",
}


def requests_schema(entries: Iterable[Entry]) -> Schema:
    """Return the JSON Schema (draft 2020-12) of one line of a session that is an object.

    It has each channel and command twice: with `do`, and as Kraken's own request without its token. A session
    takes more than that: what the words of the command line may be, and other spellings of names.

    Args:
        entries: the catalog.
    """
    shown = [entry for entry in entries if not entry.explicit]
    definitions: Schema = {"id": _ID}
    for entry in shown:
        name = {"intent": _INTENT} if entry.trading else {}
        definitions[entry.name] = _request(entry.help, {"do": {"const": entry.name}, **name}, entry, name)
        if entry.kind == CHANNEL:
            said: Schema = {"do": {"const": "unsubscribe"}, "channel": {"const": entry.name}}
            definitions[f"unsubscribe_{entry.name}"] = _request(f"End what {entry.name} began.", said, entry)
        definitions[f"kraken_{entry.name}"] = _kraken_request(entry)
    definitions["status"] = _request("Ask for a `session` event.", {"do": {"const": "status"}})
    definitions["quit"] = _request("Wait for open answers, and leave.", {"do": {"const": "quit"}})
    named: Schema = {"do": {"const": "help"}, "name": {"enum": [entry.name for entry in shown]}}
    definitions["help"] = _request("Ask what may be said, or what a name takes.", named, optional=["name"])
    return {
        "$schema": _DRAFT,
        "title": "One line of krakenws session",
        "oneOf": [{"$ref": f"#/$defs/{name}"} for name in definitions if name != "id"],
        "$defs": definitions,
    }


def _request(
    description: str, said: Schema, entry: Entry | None = None, optional: Iterable[str] = ()
) -> Schema:
    params = entry.params if entry else ()
    properties: Schema = {"id": {"$ref": "#/$defs/id"}, **said, **_params(params)}
    left_out = ["id", *optional, *(param.name for param in params if not param.required)]
    return _closed(description, properties, left_out)


def _params(params: Iterable[Param]) -> Schema:
    properties: Schema = {}
    for param in params:
        choices = {"enum": list(param.choices)} if param.choices and param.kind is not WORDS else {}
        properties[param.name] = {**_taken(param.kind), **choices, "description": param.help}
    return properties


def _taken(kind: Kind) -> Schema:
    """Return what a line may give: numbers and truth as themselves, too, where Kraken wants their text."""
    schema = dict(kind.schema)
    if kind.word == BOOLEAN.word:
        return {"enum": [True, False, "true", "false"]}
    if schema["type"] == "array":
        return {**schema, "minItems": 1}
    if schema["type"] == "string" and kind.word in {AMOUNT.word, PRICE.word, INTEGER.word}:
        schema["type"] = ["string", "integer" if kind.word == INTEGER.word else "number"]
    return schema


def _kraken_request(entry: Entry) -> Schema:
    """Source: v1.md sections 5 and 9; v2.md section 3."""
    outer: Schema = {"id": {"$ref": "#/$defs/id"}} | ({"intent": _INTENT} if entry.trading else {})
    inner, optional = _params(entry.params), [param.name for param in entry.params if not param.required]
    verb = {"enum": ["subscribe", "unsubscribe"]} if entry.kind == CHANNEL else {"const": entry.name}
    left_out = [*outer, *optional]
    if entry.api == 1:
        outer["event"] = verb
        if entry.kind == CHANNEL:
            outer |= {name: inner.pop(name) for name in ("pair", "reqid") if name in inner}
            inner = {"subscription": _closed("", {"name": {"const": entry.name}, **inner}, optional)}
        outer |= inner
    else:
        outer |= {"method": verb} | {name: inner.pop(name) for name in ("req_id",) if name in inner}
        if entry.kind == CHANNEL:
            inner = {"channel": {"const": entry.name}, **inner}
        outer["params"] = _closed("", inner, optional)
    return _closed(f"Kraken's own request, without its token: {entry.help}", outer, left_out)


def _closed(description: str, properties: Schema, optional: Iterable[str]) -> Schema:
    return {**_object(description, properties, optional), "additionalProperties": False}


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
    if event in _ANSWERS:
        properties["id"] = {"$ref": "#/$defs/id"}
        optional.append("id")
    properties["received"] = _TIME
    return _object(getdoc(event) or "", properties, optional)


def _error() -> Schema:
    plain = {"event": {"const": "error"}, "code": _WHOLE, "message": _TEXT, "retryable": {"type": "boolean"}}
    in_session = {
        "id": {"$ref": "#/$defs/id"},
        "line": _WHOLE,
        "channel": _TEXT,
        "symbol": _TEXT,
        **_NUMBERS,
        "received": _TIME,
    }
    return _object(
        "What ended the run, or in a session, what is wrong with a line. `code` is the exit code, or what it"
        " would be; `retryable` whether trying again can help; `line` which line of the caller it is.",
        {**plain, **in_session},
        in_session,
    )


def _check() -> Schema:
    return _object(
        "One line of `doctor`: what was looked at, how it is, and what mends it.",
        {"event": {"const": "check"}, "check": _TEXT, "state": {"enum": list(events.CHECKED)}}
        | {"message": _TEXT, "fix": _TEXT},
        ["fix"],
    )


def _checked() -> Schema:
    return _object(
        "The last line of `doctor`: how many checks there were of each state, and the exit code.",
        {"event": {"const": "checked"}, **dict.fromkeys(events.CHECKED, _WHOLE), "code": _WHOLE},
    )
