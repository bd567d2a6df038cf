"""Makes `docs/reference/` from the catalog, the options, the JSON Schema and the exceptions.

    python tools/make_docs.py

Nothing in those pages is written by hand: what the program accepts and prints is said once, in the code. Their
JSON examples come from `docs_conversation.py`.
`tests/test_docs.py` fails when a page is stale.
"""

# ruff: noqa: D103, E501, INP001 - a script: each function makes what its name says, and prose is prose

from __future__ import annotations

import re
from inspect import cleandoc, getdoc
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docs_conversation import conversation

from krakenws import errors
from krakenws.cli.options import OPTIONS
from krakenws.cli.parser import entries
from krakenws.cli.tools import TOOLS
from krakenws.core.catalog import CHANNEL, PRIVATE, PUBLIC
from krakenws.core.schema import schema
from krakenws.errors import EXIT_CODES, KrakenWSError
from krakenws.exchange.refusals import ABSENT, WHEN
from krakenws.options import Options

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from krakenws.cli.options import Option
    from krakenws.cli.tools import Tool
    from krakenws.core.catalog import Entry, Param

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"
GENERATED = "<!-- Made by tools/make_docs.py: change the code it is made from, then run that script. -->"

FIELDS = {
    "event": "what kind of line this is",
    "channel": "the channel, as on the command line",
    "type": "`snapshot`: everything at once; `update`: what changed",
    "symbol": "the pair",
    "depth": "of `book`: the levels subscribed",
    "interval": "of `ohlc`: the minutes subscribed",
    "received": "when this program learned of it",
    "trust": "`verified`: the checksum matched; `unverified`: there was none to check, as with a snapshot; "
    "`untrusted`: it did not match, see [untrusted](#untrusted)",
    "data": "the rows, in the order the exchange sent them",
    "endpoint": "`public` or `private`",
    "cause": "what happened, in words",
    "retry_in_s": "seconds until the next attempt; absent when there is none",
    "system": "`online`, `maintenance`, `cancel_only`, `limit_only`, `post_only`",
    "version": "the exchange's version of the API",
    "connection_id": "the exchange's number of this connection, as text: it exceeds a double",
    "req_id": "the number the request was sent with",
    "round_trip_s": "seconds from ping to pong; absent in `decode`, which sent no ping",
    "params": "what was confirmed, defaults filled in",
    "error": "the exchange's words",
    "method": "the command",
    "success": "whether the exchange said yes",
    "outcome": "`accepted`, `rejected` or `unknown`",
    "result": "the answer's fields, named as API v2 names them",
    "validated": "true: it was only checked (`validate=true`), nothing was placed or changed",
    "request": "the frame as text",
    "rate": "what is left of the rate counter: `symbol`, `counter` in points, `ceiling` once openOrders has told it;"
    " absent where the pair is not known",
    "hint": "why there is no answer, and what to do",
    "order": "of a cancel, an amendment or an edit: the order it is about, as typed",
    "intent": "of a trading command: its name in the journal (`krakenws intents`)",
    "found": "where the verdict was found, if no answer brought it in time: a channel, a REST call, `late answer`, `journal`",
    "userref": "the number of the order to look for",
    "cl_ord_id": "or its client id",
    "from": "the last good data before the break; absent when there was none; of `lagging`: when it began",
    "to": "the first good data after it; null while it lasts",
    "policy": "what `--overflow` says: `block`, `drop` or `exit`",
    "blocked_s": "seconds for which output stood still, and the socket with it",
    "blocked_total_s": "the same, of the whole run so far",
    "dropped": "what was left out since `from`: channel, symbol and `count` of data messages for each",
    "dropped_total": "data messages left out in the whole run so far",
    "frame": "the frame's beginning, escaped",
    "length_bytes": "the frame's whole length",
    "missed": "how many messages are known to be lost; absent when nobody can know",
    "resyncs": "how often in a row the book was asked for again in vain",
    "trades": "how many trades were told",
    "complete": "whether what REST knows meets the stream again",
    "sha256": "the first 16 hexadecimal digits of the frame's hash",
    "count": "how many violations there were on this endpoint, this one included",
    "connections": "how many were made; of `session`: each endpoint in use",
    "down_s": "seconds without a connection since the first",
    "violations": "frames that are not what the exchange promises",
    "channels": "of each channel and symbol, what became of its data frames",
    "condition": "what was waited for, as it was understood",
    "values": "its quantities at that moment, each with `symbol`, `quantity` and `value` as decimal text",
    "held_s": "seconds for which it held without a break; absent when a moment was enough",
    "id": "in a session: the name that its caller gave the line; absent where it gave none",
    "line": "in a session: which line of the caller it is about, from 1",
    "subscriptions": "what the caller follows, each with the `id` it was asked under and whether it is `confirmed`",
    "unanswered": "how many answers the caller awaits",
    "text": "the help",
    "path": "where the socket is",
    "check": "what was looked at",
    "state": "`skipped`: it could not be looked at",
    "fix": "what to do; absent where nothing needs doing",
    "ok": "how many checks were well",
    "warning": "how many should be looked at",
    "failed": "how many failed",
    "skipped": "how many could not be looked at",
    "code": "the exit code; in a session, what it would have been",
    "message": "one sentence: what happened, to what, what to do",
    "retryable": "whether running it again can help; false whenever an outcome is unknown",
}
"""What the fields of events mean; rows say it themselves. A new field without a meaning stops this script."""


def pages() -> dict[str, str]:
    """Return the text of each generated page, by file name."""
    return {
        "cli.md": cli_page(),
        "channels.md": channels_page(),
        "events.md": events_page(),
        "errors.md": errors_page(),
    }


# ---- Markdown


def page(title: str, *parts: str) -> str:
    return "\n\n".join([f"# {title}", GENERATED, *(part.strip("\n") for part in parts if part)]) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in row)} |" for row in lines
    )


def code(text: object) -> str:
    return f"`{text}`" if text not in {"", None} else ""


def bullets(items: Iterable[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def console(lines: Iterable[str]) -> str:
    return "```console\n" + "\n".join(f"$ {line}" for line in lines) + "\n```"


def sentence(text: str) -> str:
    """Return a help text as a table has it: what it quotes as code, no line breaks."""
    return re.sub(r"'([^' ]*[*/][^' ]*)'", r"`'\1'`", " ".join(text.split()))


# ---- cli.md


def cli_page() -> str:
    common = [option for option in OPTIONS if not option.tools]
    return page(
        "The command line",
        cleandoc("""
            ```text
            krakenws [options] NAME [words] [+ NAME [words]]…
            ```

            - `NAME` is a [channel or command](channels.md) or one of the tools below. `openOrders`, `open-orders`,
              `open_orders` and any letter case mean the same. Without a `NAME`: `ping`.
            - Words are pairs (`XBT/USD`, lower case welcome; `BTC` and `DOGE` mean `XBT` and `XDG`), a bare number (the
              depth of `book`, the interval of `ohlc`) or `key=value`, split at the first `=`; lists by comma. Each
              parameter also exists as `--key value`.
            - `'*/USD'` is expanded from the list of pairs; quote it, or the shell expands it first.
            - `+` joins several channels in one run: one connection for each endpoint, one ordered output.
            - Options may stand anywhere.
        """),
        "## Options",
        table(("option", "meaning", "environment", "default"), map(_option_row, common)),
        cleandoc("""
            An option given on the command line wins over the environment, the environment over `config.toml`. An
            empty variable counts as unset. A switch takes `true` or `false` there. Keys of `config.toml` are the
            options' names, such as `output = "json"`; the file is `~/.config/krakenws/config.toml` on Linux
            (`XDG_CONFIG_HOME` is honoured), and where applications keep theirs elsewhere.

            Without `--output`: `text` on a terminal, `json` in a pipe, `transcript` from `krakenws.py`. `NO_COLOR` is
            honoured. `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` name an HTTP proxy. Plain `ws://` and `http://` are for
            loopback only, and no switch turns certificate checks off.
        """),
        "## Output formats",
        table(
            ("`--output`", "one line is", "for"),
            (
                ("`text`", "a row: local time, pair, aligned numbers, colour for side and direction", "eyes"),
                ("`json`", "[an event](events.md)", "programs in any language"),
                ("`csv`", "a row; the header first; one channel a run", "spreadsheets"),
                ("`raw`", "a received frame, byte for byte", "`jq`, archives"),
                (
                    "`transcript`",
                    "a frame with its direction, as the original script printed it",
                    "its users",
                ),
            ),
        ),
        "Data goes to stdout, whole lines, as they come; words for people go to stderr.",
        "## Tools",
        *(_tool(tool) for tool in TOOLS),
        "## Exit codes",
        table(("code", "meaning"), EXIT_CODES),
        "`krakenws.py`, the drop-in, has the original script's codes: 0, and 1 for every failure. More in "
        "[errors](errors.md).",
    )


def _option_row(option: Option) -> tuple[str, ...]:
    name = f"--{option.name} {option.metavar}".rstrip()
    default = getattr(Options, option.field, None) if option.field and option.parse else None
    if default is not None:
        default = f"{default:g} s" if isinstance(default, float) else default
    return (
        code(f"-{option.short}, {name}" if option.short else name),
        sentence(option.help),
        "" if option.only_argv else code("KRAKENWS_" + option.name.replace("-", "_").upper()),
        code(default),
    )


def _tool(tool: Tool) -> str:
    own = [option for option in OPTIONS if tool.name in option.tools]
    rows = [(code(f"--{o.name} {o.metavar}".rstrip()), sentence(o.help)) for o in own]
    parts = [
        f"### {tool.name}",
        tool.help,
        f"```text\nkrakenws {tool.usage}\n```",
        table(("option", "meaning"), rows) if rows else "",
        console(_example(example) for example in tool.examples),
        bullets(map(sentence, tool.notes)),
    ]
    return "\n\n".join(part for part in parts if part)


def _example(text: str) -> str:
    return text if text.startswith("krakenws ") else f"krakenws {text}"


# ---- channels.md


def channels_page() -> str:
    listed = [entry for entry in entries() if not entry.explicit]
    groups = (
        ("Market data", [e for e in listed if e.kind == CHANNEL and e.access == PUBLIC]),
        ("Account", [e for e in listed if e.kind == CHANNEL and e.access == PRIVATE]),
        ("Trading", [e for e in listed if e.trading]),
        ("Connection", [e for e in listed if e.kind != CHANNEL and not e.trading]),
    )
    contents = bullets(
        f"{title}: " + ", ".join(f"[{entry.name}](#{entry.name.lower()})" for entry in members)
        for title, members in groups
    )
    intro = cleandoc("""
        What may be said to the exchange, from the catalog (`krakenws catalog`). Each parameter is written `key=value`
        or `--key value`. Account and trading need a token: [how-to](../how-to.md#tokens-and-keys).
    """)
    parts = [intro, contents]
    for title, members in groups:
        parts += [f"## {title}", *map(_entry, members)]
    return page("Channels and commands", *parts)


def _entry(entry: Entry) -> str:
    rows = [
        (code(param.name), param.kind.word, "yes" if param.required else "", _meaning(param))
        for param in entry.params
    ]
    data = (
        f" Its data: [{entry.name} events](events.md#{entry.name.lower()})." if entry.kind == CHANNEL else ""
    )
    parts = [
        f"### {entry.name}",
        f"{entry.help}{data}",
        table(("parameter", "kind", "needed", "meaning"), rows),
        console(_example(example) for example in entry.examples),
        bullets(map(sentence, entry.notes)),
        f"API v{entry.api}. Source: <{entry.source}>",
    ]
    return "\n\n".join(part for part in parts if part)


def _meaning(param: Param) -> str:
    text = sentence(param.help)
    if param.choices:
        text += f": {', '.join(code(choice) for choice in param.choices)}"
    if param.default is not None:
        default = str(param.default).lower() if isinstance(param.default, bool) else param.default
        text += f" (default {code(default)})"
    if param.bare:
        text += "; may be a bare number"
    if param.example and not param.choices:
        text += f"; e.g. {code(f'{param.name}={param.example}')}"
    return text


# ---- events.md


def events_page() -> str:
    definitions: dict[str, Any] = schema(entries())["$defs"]
    examples = conversation()
    channels = [entry for entry in entries() if entry.kind == CHANNEL and entry.rows]
    parts = [
        cleandoc("""
            One line of `--output json` is one event: a JSON object with `event` first, then what identifies it, then
            data. `krakenws catalog --schema` prints the same as JSON Schema.

            Prices, quantities and fees are text with the exchange's own digits; counts and ids are numbers; times are
            RFC 3339 UTC. A field that has nothing to say is left out. The life of the connection is in the same
            stream, in order: who reads only stdout misses nothing. Heartbeats are not written. Be ready for new
            fields and new events.
        """),
        "Data: " + ", ".join(f"[{entry.name}](#{entry.name.lower()})" for entry in channels),
        "The rest: " + ", ".join(f"[{name}](#{name})" for name in _others(definitions)),
        "## Data",
        *(_update(entry, definitions, examples) for entry in channels),
        "## Everything else",
        *(_event(name, definitions, examples) for name in _others(definitions)),
    ]
    return page("JSON events", *parts)


def _others(definitions: dict[str, Any]) -> list[str]:
    return [
        name for name, value in definitions.items() if _is_event(value) and not name.startswith("update_")
    ]


def _is_event(definition: dict[str, Any]) -> bool:
    return "event" in definition.get("properties", {})


def _update(entry: Entry, definitions: dict[str, Any], examples: dict[str, list[str]]) -> str:
    definition = definitions[f"update_{entry.name}"]
    row = definition["properties"]["data"]["items"]["$ref"].rpartition("/")[2]
    parts = [
        f"### {entry.name}",
        entry.help,
        _json(examples[entry.name]),
        _fields(definition),
        f"A row of `data`: {definitions[row]['description'][0].lower()}{definitions[row]['description'][1:]}",
        _row(definitions[row]),
    ]
    for inner in ("Level", "Wallet"):
        if row.startswith(inner) or (inner == "Wallet" and row == "Balance"):
            parts += [f"{definitions[inner]['description']}", _row(definitions[inner])]
    return "\n\n".join(parts)


def _event(name: str, definitions: dict[str, Any], examples: dict[str, list[str]]) -> str:
    definition = definitions[name]
    return "\n\n".join(
        [f"### {name}", _prose(definition["description"]), _json(examples[name]), _fields(definition)]
    )


def _prose(text: str) -> str:
    """Return a docstring in the words of JSON: `to_ns` is `to`, None is null or nothing, classes are events."""
    text = re.sub(r"`(\w+)_ns`", r"`\1`", text).replace("is None", "is absent").replace("None", "null")
    return re.sub(r"`([A-Z]\w+)`", lambda found: f"`{found[1].lower()}`", text)


def _json(lines: list[str]) -> str:
    return "```json\n" + "\n".join(lines) + "\n```"


def _fields(definition: dict[str, Any]) -> str:
    rows = [
        (
            code(name),
            _type(value),
            "" if name in definition["required"] else "yes",
            FIELDS[name],
        )
        for name, value in definition["properties"].items()
    ]
    return table(("field", "type", "optional", "meaning"), rows)


def _row(definition: dict[str, Any]) -> str:
    required = definition.get("required", ())
    rows = [
        (code(name), _type(value), "" if name in required else "yes", value.get("description", ""))
        for name, value in definition["properties"].items()
    ]
    return table(("field", "type", "optional", "meaning"), rows)


def _type(value: dict[str, Any]) -> str:
    if "const" in value:
        return code(
            "true" if value["const"] is True else "false" if value["const"] is False else value["const"]
        )
    if "enum" in value:
        return ", ".join(code(choice) for choice in value["enum"])
    if "anyOf" in value:
        return " or ".join(map(_type, value["anyOf"]))
    if "$ref" in value:
        return str(value["$ref"]).rpartition("/")[2]
    if value["type"] == "array":
        return f"list of {_type(value['items'])}"
    if value.get("format") == "date-time":
        return "time"
    if "pattern" in value:
        return "decimal text"
    names = {"string": "text", "integer": "whole number", "boolean": "true or false"}
    return names.get(value["type"], str(value["type"]))


# ---- errors.md


def errors_page() -> str:
    return page(
        "Errors and exit codes",
        cleandoc("""
            What a stream survives is an [event](events.md): a gap, a lost connection, a refused pair. What ends a run
            is an error: one sentence on stderr, an exit code, and with `--output json` also an
            [`error` event](events.md#error) on stdout. The sentence says what happened, to what, and what to do.
        """),
        "## Exit codes",
        table(("code", "meaning"), EXIT_CODES),
        cleandoc("""
            With several verdicts in one run the gravest decides: an unknown outcome before a refusal. Ctrl-C with an
            order unanswered is 6. `krakenws.py`, the drop-in, has the original script's codes: 0, and 1 for every
            failure.
        """),
        "## Exceptions",
        "In Python every error is a `krakenws.errors.KrakenWSError`. *Retryable* says whether running the same "
        "again can help by itself; it is never true when an outcome is unknown.",
        table(("exception", "exit code", "retryable", "means"), _tree(KrakenWSError, 0)),
        cleandoc("""
            ## The exchange's words

            Kraken's errors stay as sent: `EOrder:Insufficient funds` is severity `E`, category `Order`, then the text.
            A refusal that speaks of the session, the key or its permissions (`ESession:`, `EAPI:Invalid key`,
            `EGeneral:Permission denied` …) ends with code 3, every other with 5.

            These are the strings that are documented for API v1 and the REST calls around it, and what brings each
            about in the [sandbox](../sandbox.md); where Kraken does not explain one, the cause is the sandbox's
            choice. What stands in <…> varies. A string *by fault* has no cause there, for the reason given: the
            fault [`refuse`](../sandbox.md#requests) says it, as it does any other. Not listed: `EFunding:` and the
            words of the futures API, whose calls the sandbox does not have.
        """),
        *(f"### {about}\n\n{_strings(texts)}" for about, texts in WHEN.items()),
    )


def _strings(texts: Mapping[str, str]) -> str:
    rows = [
        (code(text), f"{when}; *by fault*: {ABSENT[text]}" if text in ABSENT else when)
        for text, when in texts.items()
    ]
    return table(("error", "when"), rows)


def _tree(exception: type[KrakenWSError], level: int) -> list[tuple[object, ...]]:
    retryable = "yes" if exception.retryable else "no"
    means = (getdoc(exception) or "").splitlines()[0]
    name = "&nbsp;" * 4 * level + code(exception.__name__)
    rows: list[tuple[object, ...]] = [(name, exception.exit_code, retryable, means)]
    children = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and exception in kind.__bases__
    ]
    for child in children:
        rows += _tree(child, level + 1)
    return rows


def main() -> None:
    REFERENCE.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (REFERENCE / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
