"""What --help prints: everything from the catalog and the options, plain text as wide as the terminal.

Elsewhere, and on a wider one, it takes 100 columns. What is to be copied stays in one line.
"""

from __future__ import annotations

from os.path import expanduser, join

from krakenws.cli.options import OPTIONS
from krakenws.cli.parser import entries
from krakenws.cli.tools import TOOLS
from krakenws.core.catalog import CHANNEL, PRIVATE, PUBLIC
from krakenws.core.kinds import INTEGER
from krakenws.directories import config_dir
from krakenws.errors import EXIT_CODES
from krakenws.sinks import COLUMNS, columns_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from krakenws.cli.options import Option
    from krakenws.cli.tools import Tool
    from krakenws.core.catalog import Entry, Param


def _width() -> int:
    return min(columns_of(1), COLUMNS)


def overview(program: str) -> str:
    """Return the help of the program itself."""
    listed = [entry for entry in entries() if not entry.explicit]
    groups = (
        ("Market data", [e for e in listed if e.kind == CHANNEL and e.access == PUBLIC]),
        ("Account (needs a token)", [e for e in listed if e.kind == CHANNEL and e.access == PRIVATE]),
        ("Trading (needs a token; sent at most once)", [e for e in listed if e.trading]),
        ("Connection", [e for e in listed if e.kind != CHANNEL and not e.trading]),
    )
    parts = [
        "Kraken's WebSocket API at the command line.\n",
        f"  {program} [options] NAME [words] [+ NAME [words]]…\n",
        *_paragraph(
            "Words are pairs (XBT/USD), a bare number (depth, interval) or key=value; + joins feeds in one"
            f" run. '{program} NAME --help' says what a NAME takes. Without a NAME: ping."
        ),
    ]
    for title, members in groups:
        parts.append(f"\n{title}:")
        parts += _table((entry.name, entry.help) for entry in members)
    parts.append("\nTools:")
    parts += _table((tool.name, tool.help) for tool in TOOLS)
    parts.append("\nOptions:")
    parts += _options(option for option in OPTIONS if not option.tools)
    parts.append("\nExamples:")
    parts += [
        f"  {program} ticker XBT/USD ETH/EUR",
        f"  {program} book XBT/USD 25 --book top + trade XBT/USD -o json | jq .",
        f"  {program} addOrder pair=XBT/EUR type=sell ordertype=limit price=7500 volume=0.125 validate=true",
        f"  {program} replay demo          # an exchange on this machine, to try things without a network",
    ]
    parts.append("\nExit codes:")
    parts += _table((str(code), meaning) for code, meaning in EXIT_CODES)
    parts.append("")
    parts += _paragraph(
        "Options may also stand in the environment (KRAKENWS_OUTPUT=json) or in the file"
        f' {_config_file()} (output = "json"), whose section [policy] limits orders.'
    )
    parts += _paragraph(
        "Credentials: --token-file, KRAKENWS_TOKEN, WS_Token; or an API key with its secret, which fetch"
        " a token: --key-file, or KRAKEN_API_KEY and KRAKEN_API_SECRET."
    )
    return "\n".join(parts) + "\n"


def _config_file() -> str:
    home = expanduser("~/")
    path = join(config_dir(), "config.toml")
    return f"~/{path.removeprefix(home)}" if path.startswith(home) else path


def of_entry(program: str, entry: Entry) -> str:
    """Return the help of one channel or command."""
    words = " ".join(_usage(param) for param in entry.params if param.required or param.bare)
    optional = " [key=value…]" if any(not param.required for param in entry.params) else ""
    parts = [*_paragraph(entry.help), f"\n  {program} {entry.name} {words}".rstrip() + f"{optional}\n"]
    required = [param for param in entry.params if param.required]
    others = [param for param in entry.params if not param.required]
    for title, params in (("Needed", required), ("May be given", others)):
        if params:
            parts.append(f"{title} (key=value or --key value):")
            parts += _table((param.name, _describe(param)) for param in params)
            parts.append("")
    parts.append("Examples:")
    parts += [f"  {program} {example}" for example in entry.examples]
    if entry.notes:
        parts.append("\nTo know:")
        parts += _bullets(entry.notes)
    parts.append(f"\nOptions common to all commands: {program} --help")
    parts.append(f"API v{entry.api}. Source: {entry.source}")
    return "\n".join(parts) + "\n"


def of_tool(program: str, tool: Tool) -> str:
    """Return the help of one tool."""
    parts = [*_paragraph(tool.help), f"\n  {program} {tool.usage}\n"]
    own = [option for option in OPTIONS if tool.name in option.tools]
    if own:
        parts.append("Options:")
        parts += _options(own)
        parts.append("")
    parts.append("Examples:")
    parts += [
        f"  {example if example.startswith('krakenws ') else f'{program} {example}'}"
        for example in tool.examples
    ]
    if tool.notes:
        parts.append("\nTo know:")
        parts += _bullets(tool.notes)
    return "\n".join(parts) + "\n"


def _usage(param: Param) -> str:
    if param.bare:
        return f"[{param.name.upper()}]"
    if param.kind.word == "BASE/QUOTE…":
        return "BASE/QUOTE…"
    choices = "|".join(map(str, param.choices)) if 0 < len(param.choices) < 4 else param.name.upper()
    return f"{param.name}={choices}"


def _describe(param: Param) -> str:
    text = param.help
    if not {str(choice) for choice in param.choices} <= set(text.replace(":", " ").replace(",", " ").split()):
        text += f": {', '.join(map(str, param.choices))}"
    if param.default is not None:
        text += (
            f" (default {str(param.default).lower() if isinstance(param.default, bool) else param.default})"
        )
    if param.bare and param.kind is INTEGER:
        text += "; may be a bare number"
    if param.example and not param.choices:
        text += f"; e.g. {param.name}={param.example}"
    return text


def _options(options: Iterable[Option]) -> list[str]:
    return _table(
        (
            _spelled(option),
            option.help,
        )
        for option in options
    )


def _spelled(option: Option) -> str:
    short = f"-{option.short}, " if option.short else ""
    gap = "" if option.bare is not None else " "
    return f"{short}--{option.name}{gap}{option.metavar}".rstrip()


def _table(rows: Iterable[tuple[str, str]]) -> list[str]:
    """Two columns; a long left side puts the right one on the next line."""
    listed = list(rows)
    left = min(30, max((len(name) for name, _ in listed), default=0)) + 4
    lines = []
    for name, text in listed:
        wrapped = _wrap(text, _width() - left)
        if len(name) + 4 > left:
            lines.append(f"  {name}")
        else:
            lines.append(f"  {name:{left - 2}}{wrapped.pop(0)}")
        lines += [" " * left + line for line in wrapped]
    return lines


def _bullets(notes: Iterable[str]) -> list[str]:
    lines = []
    for note in notes:
        first, *rest = _wrap(note, _width() - 4)
        lines += [f"  - {first}", *(f"    {line}" for line in rest)]
    return lines


def _paragraph(text: str) -> list[str]:
    return _wrap(text, _width())


def _wrap(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) + 1 > width and lines[-1]:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines
