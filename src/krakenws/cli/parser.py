"""The words of a command line: options, names, and what belongs to which feed.

A parameter of a feed may be written `key=value` or `--key value`; `+` separates feeds. A small parser of
our own: argparse alone is 16 ms of a 26 ms ping.
"""

from __future__ import annotations

from krakenws.cli.options import OPTIONS, read_setting
from krakenws.core import v1_entries
from krakenws.core.catalog import Entry, Param, canonical, find, nearest, shown
from krakenws.core.kinds import BOOLEAN, BOOLEAN_TEXT
from krakenws.errors import UsageError
from krakenws.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from krakenws.cli.options import Option, Setting, Settings
    from krakenws.cli.tools import Tool

LISTED = "krakenws --help lists them"
"""Where names are found that were meant."""


@record
class Feed:
    """One NAME with its words: a catalog entry, or a tool."""

    name: str
    words: tuple[str, ...]
    entry: Entry | None
    tool: Tool | None


@record
class CommandLine:
    """What was typed: feeds in order, and settings given as options."""

    feeds: tuple[Feed, ...]
    settings: Mapping[str, Setting]


def entries() -> tuple[Entry, ...]:
    """Return every entry of every API, in the order help lists them."""
    from krakenws.core import v2_entries

    return (*v1_entries.ENTRIES, *v2_entries.ENTRIES)


def look_up(name: str, api: int | None) -> tuple[Entry | None, Tool | None]:
    """Return what a NAME stands for.

    Raises:
        UsageError: nothing; the sentence names the nearest.
    """
    entry = find(v1_entries.ENTRIES, name, api)
    if entry is not None:
        return entry, None
    from krakenws.cli.tools import TOOLS

    tool = next((tool for tool in TOOLS if tool.name == canonical(name)), None)
    if tool is not None:
        return None, tool
    entry = find(entries(), name, api)
    if entry is not None:
        return entry, None
    here = [entry.name for entry in entries() if not entry.explicit and api in {None, entry.api}]
    where = f" in API v{api}" if api else ""
    if elsewhere := find(entries(), name):
        raise UsageError(
            f"there is no {elsewhere.name}{where}: this version of krakenws has only {', '.join(here)} there"
        )
    meant = nearest(name, [*here, *(tool.name for tool in TOOLS)])
    raise UsageError(
        f"there is no command {shown(name)}{where}; did you mean {meant}?"
        if meant
        else f"there is no command {shown(name)}{where}: {LISTED}"
    )


def parse(argv: Sequence[str]) -> CommandLine:
    """Return what was typed.

    Raises:
        UsageError: an unknown option or name, or an option without its value.
    """
    reader = _Reader(argv)
    reader.read()
    api = reader.settings.get("api")
    feeds = []
    for name, words in reader.feeds:
        entry, tool = look_up(name, api if isinstance(api, int) else None)
        feeds.append(Feed(name, tuple(_parameters(entry, words)), entry, tool))
        if entry is not None:
            _refuse_names(entry, feeds[-1].words)
    tools = [feed.tool.name for feed in feeds if feed.tool]
    if tools and len(feeds) > 1:
        raise UsageError(f"{tools[0]} stands alone; + joins feeds and commands of the catalog")
    for option in reader.limited:
        if not any(tool in option.tools for tool in tools):
            raise UsageError(f"--{option.name} belongs to krakenws {', '.join(option.tools)}")
    return CommandLine(tuple(feeds), reader.settings)


def _refuse_names(entry: Entry, words: Sequence[str]) -> None:
    """A NAME among the words of another is a forgotten `+`."""
    for word in words:
        other = find(entries(), word) if word.isalpha() else None
        if other is not None:
            raise UsageError(
                f"{entry.name} does not take {word}; to run both, join them with +:"
                f" {entry.examples[0]} + {other.examples[0]}"
            )


class _Reader:
    """Splits argv into settings and feeds; `--key value` of a feed stays among its words as it is."""

    def __init__(self, argv: Sequence[str]) -> None:
        self._argv = list(argv)
        self._at = 0
        self.settings: Settings = {}
        self.limited: list[Option] = []
        self.feeds: list[tuple[str, list[str]]] = []
        self._expects_name = True

    def read(self) -> None:
        while self._at < len(self._argv):
            word = self._argv[self._at]
            self._at += 1
            if word == "--" and self.feeds and not self._expects_name:
                self.feeds[-1][1].extend(self._argv[self._at - 1 :])
                self._at = len(self._argv)
            elif word == "+":
                if self._expects_name:
                    raise UsageError("+ joins two feeds, and there is no feed before it")
                self._expects_name = True
            elif word.startswith("--") and len(word) > 2:
                self._long(word)
            elif _is_option(word) and word != "--":
                self._short(word)
            elif self._expects_name:
                self.feeds.append((word, []))
                self._expects_name = False
            else:
                self.feeds[-1][1].append(word)
        if self._expects_name and self.feeds:
            raise UsageError("+ joins two feeds, and there is no feed behind it")

    def _long(self, word: str) -> None:
        name, equals, text = word[2:].partition("=")
        option = next((option for option in OPTIONS if option.name == name.lower().replace("_", "-")), None)
        if option is not None and not (option.tools and self._is_parameter(name)):
            self._set(option, text if equals else None)
        elif self.feeds and not self._expects_name:
            self.feeds[-1][1].append(word)
        else:
            raise unknown_option(word, ())

    def _is_parameter(self, name: str) -> bool:
        """Whether the feed being read has it: `--timeout` of cancelAllOrdersAfter is not that of wait."""
        if not self.feeds or self._expects_name:
            return False
        entry = find(entries(), self.feeds[-1][0])
        return entry is not None and entry.param(name) is not None

    def _short(self, word: str) -> None:
        letters = word[1:]
        while letters:
            option = next((option for option in OPTIONS if option.short == letters[0]), None)
            if option is None:
                raise UsageError(f"there is no option -{letters[0]}; {LISTED}")
            if option.parse is not None:
                self._set(option, letters[1:].removeprefix("=") or None)
                return
            self._set(option, None)
            letters = letters[1:]

    def _set(self, option: Option, text: str | None) -> None:
        if option.tools:
            self.limited.append(option)
        if option.parse is None:
            if text is not None:
                raise UsageError(f"--{option.name} takes no value")
            self.settings[option.key] = option.value
            return
        if text is None and option.bare is not None:
            if "://" in "".join(self._argv[self._at : self._at + 1]):
                raise UsageError(
                    f"--{option.name} takes its value behind =: --{option.name}={self._argv[self._at]}"
                )
            self.settings[option.key] = option.bare
            return
        values = [] if text is None else [text]
        while len(values) < option.words and (not values or values[0] != option.alone):
            if self._at >= len(self._argv) or _is_option(self._argv[self._at]):
                raise UsageError(f"--{option.name} needs {option.metavar}")
            values.append(self._argv[self._at])
            self._at += 1
        parsed = [read_setting(option, value, f"--{option.name}") for value in values]
        self.settings[option.key] = (
            parsed[0] if option.words == 1 else (str(parsed[0]), str(parsed[1]) if parsed[1:] else "")
        )


def _is_option(word: str) -> bool:
    """Whether it is one: a lone dash is a file, and a dash before a digit a number."""
    return word.startswith("-") and (word[1:2] == "-" or word[1:2].isalpha())


def unknown_option(word: str, names: Sequence[str]) -> UsageError:
    """Return the sentence on an option nobody knows."""
    name = word[2:].partition("=")[0]
    known = [*names, *(option.name for option in OPTIONS)]
    meant = nearest(name, known)
    return UsageError(
        f"there is no option --{shown(name)}" + (f"; did you mean --{meant}?" if meant else f": {LISTED}")
    )


def _parameters(entry: Entry | None, words: Sequence[str]) -> list[str]:
    """Turn `--key value` and `--key=value` into `key=value` for the parameters an entry has."""
    plain: list[str] = []
    left = list(words)
    while left:
        word = left.pop(0)
        if word == "--":  # the rest are no options; without an entry, they are another program's
            return [*plain, *left] if entry else [*plain, word, *left]
        if not word.startswith("--"):
            plain.append(word)
            continue
        name, equals, text = word[2:].partition("=")
        param = entry.param(name) if entry else None
        if param is None:
            raise unknown_option(word, [param.name for param in entry.params] if entry else ())
        plain.append(f"{param.name}={text if equals else _value_behind(param, left)}")
    return plain


def _value_behind(param: Param, left: list[str]) -> str:
    """Take the value of `--key` from the words behind it; true or false may be left out, and is true then."""
    if param.kind is BOOLEAN or param.kind is BOOLEAN_TEXT:
        try:
            param.kind.parse(left[0] if left else "")
        except ValueError:
            return "true"
    elif not left or left[0].startswith("--"):
        raise UsageError(
            f"--{param.name} needs a value, such as --{param.name} {param.example or param.kind.word}"
        )
    return left.pop(0)
