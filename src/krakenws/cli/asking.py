"""What one line of a session asks: words as on the command line, or a JSON object.

Three spellings, one meaning::

    book XBT/USD depth=25 id=b1
    {"id": "b1", "do": "book", "pair": ["XBT/USD"], "depth": 25}
    {"id": "b1", "event": "subscribe", "pair": ["XBT/USD"], "subscription": {"name": "book", "depth": 25}}

The last is Kraken's own request without its token. A number of JSON is taken by its digits, so that no price
passes through a float, and a name given twice is refused: a reader that picks one of two volumes is worse
than none. All three end in `bind`, where the catalog says what fits.
"""

from __future__ import annotations

import re
from functools import lru_cache
from json import JSONDecoder

from krakenws.cli.parser import LISTED, entries, look_up, parse
from krakenws.core.catalog import CHANNEL, bind, bind_texts, canonical, find, nearest, shown
from krakenws.core.intents import NAMES, is_name
from krakenws.errors import KrakenWSError, UsageError
from krakenws.record import record, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    from krakenws.core.catalog import Bound, Entry, Expand
    from krakenws.core.session import CallerId

START, STOP, STATUS, HELP, QUIT = "start", "unsubscribe", "status", "help", "quit"
OWN = (STOP, STATUS, HELP, QUIT)
"""What only a session knows."""
LONGEST_ID = 200
_LONGEST_NUMBER = 100


@record
class Asked:
    """What a line asks.

    `do`: START a channel or command, STOP a channel, or another of `OWN`; `bound`: what to start or stop;
    `topic`: of HELP, "" for all; `intent`: the caller's name for a trading command, "" without one.
    """

    id: CallerId
    do: str
    bound: Bound | None = None
    topic: str = ""
    intent: str = ""

    def __init__(
        self,
        id: CallerId,  # noqa: A002 - as the field
        do: str,
        bound: Bound | None = None,
        topic: str = "",
        intent: str = "",
    ) -> None:
        state = self.__dict__
        state["id"], state["do"], state["bound"] = id, do, bound
        state["topic"], state["intent"] = topic, intent


class Mistake(KrakenWSError):
    """A line that asks nothing possible. `id` is its caller's, as far as it could be read."""

    exit_code = UsageError.exit_code

    def __init__(self, message: str, id_: CallerId, error: KrakenWSError | None = None) -> None:
        super().__init__(message.replace(LISTED, "help lists them"))
        self.id = id_
        if error is not None:
            self.exit_code, self.retryable = error.exit_code, error.retryable


class _Number(str):
    """A number of JSON, by its digits."""

    __slots__ = ()


def read_line(line: str, patterns: Callable[[int], Expand | None]) -> Asked:
    """Return what a line asks.

    Args:
        line: without its line feed, not blank.
        patterns: gives what expands `*/USD`, for an API.

    Raises:
        Mistake: it asks nothing possible, or `patterns` raised what its code says.
    """
    stripped = line.strip()
    if stripped.startswith("{"):
        return _read_json(stripped, patterns)
    if stripped.startswith("["):
        raise Mistake("this line is a JSON list: a line is words, or one JSON object", None)
    return _read_words(line, patterns)


def is_blank(line: str) -> bool:
    """Whether a line asks nothing at all: it is empty, or a comment."""
    return not line.strip() or line.lstrip().startswith("#")


# ---- words


def _read_words(line: str, patterns: Callable[[int], Expand | None]) -> Asked:
    try:
        words, wrong = _split(line), ""
    except ValueError as error:
        words, wrong = line.split(), f"the quotes of this line do not fit together ({error})"
    ids, words = _taken_out("id", words)
    names, words = _taken_out("intent", words)
    id_ = ids[0] if ids else None
    if any(len(one) > LONGEST_ID for one in ids):
        id_, wrong = None, f"an id has at most {LONGEST_ID} characters"
    elif len(ids) > 1:
        wrong = wrong or "id is given twice"
    elif id_ == "":
        id_, wrong = None, wrong or "id is empty"
    if len(names) > 1:
        wrong = wrong or "intent is given twice"
    if not words:
        wrong = wrong or "there is no command in this line; help lists them"
    try:
        if wrong:
            raise UsageError(wrong)
        return _named(_meant_by(words, id_, patterns), names[0] if names else None)
    except KrakenWSError as error:
        raise Mistake(str(error), id_, error) from None


def _split(line: str) -> list[str]:
    from shlex import split

    return split(line) if any(quote in line for quote in "'\"\\") else line.split()


def _taken_out(name: str, words: list[str]) -> tuple[list[str], list[str]]:
    """Return what is given as `name=` or `--name` among the words, and the other words."""
    given, others, left = [], [], iter(words)
    option, starts = f"--{name}", (f"{name}=", f"--{name}=")
    for word in left:
        if word == option:
            given.append(next(left, ""))
        elif word.startswith(starts):
            given.append(word.partition("=")[2])
        else:
            others.append(word)
    return given, others


def _named(asked: Asked, intent: object) -> Asked:
    """Return what is asked with the caller's name for it, None without one."""
    if intent is None:
        return asked
    if asked.bound is None or not asked.bound.entry.trading:
        what = asked.do if asked.bound is None else asked.bound.entry.name
        raise UsageError(f"intent names a trading command, and {what} is none")
    if not isinstance(intent, str) or isinstance(intent, _Number) or not is_name(intent):
        raise UsageError(f"intent={shown(str(intent))} is not {NAMES}")
    return replace(asked, intent=intent)


def _meant_by(words: list[str], id_: CallerId, patterns: Callable[[int], Expand | None]) -> Asked:
    verb = canonical(words[0])
    if verb == HELP:
        return _help(words[1:], id_)
    if verb in {STATUS, QUIT}:
        if words[1:]:
            raise UsageError(f"{verb} takes no words: {shown(words[1])}")
        return Asked(id_, verb)
    try:
        line = parse(words[1:] if verb == STOP else words)
    except UsageError:
        meant = nearest(verb, [*OWN, *(entry.name for entry in entries())])
        if verb not in OWN and meant in OWN:
            raise UsageError(f"there is no command {shown(words[0])}; did you mean {meant}?") from None
        raise
    beyond = next((name for name in line.settings if name != "api"), "")
    if beyond:
        raise UsageError(
            f"--{beyond.removesuffix('_s').replace('_', '-')} is said once, where the session is started"
        )
    if not line.feeds:
        raise UsageError("unsubscribe needs a channel, such as unsubscribe ticker XBT/USD")
    if len(line.feeds) > 1:
        raise UsageError("one command a line: + joins feeds on the command line only")
    (feed,) = line.feeds
    if feed.entry is None:
        raise UsageError(f"{feed.name} is no command of a session; run krakenws {feed.name} by itself")
    return Asked(id_, _doing(verb, feed.entry), bind(feed.entry, feed.words, patterns(feed.entry.api)))


def _doing(verb: str, entry: Entry) -> str:
    if verb != STOP:
        return START
    if entry.kind != CHANNEL:
        raise UsageError(f"unsubscribe is for channels, and {entry.name} is a command")
    return STOP


def _help(words: list[str], id_: CallerId) -> Asked:
    if len(words) > 1:
        raise UsageError("help takes one name, such as help addOrder")
    if words and canonical(words[0]) not in OWN:
        entry, _ = look_up(words[0], None)
        if entry is None:
            raise UsageError(f"{words[0]} is no command of a session")
        return Asked(id_, HELP, topic=entry.name)
    return Asked(id_, HELP)


# ---- JSON


def _read_json(line: str, patterns: Callable[[int], Expand | None]) -> Asked:
    try:
        members, end = _DECODER.raw_decode(line)
    except (ValueError, RecursionError) as error:
        reason = str(error).partition(":")[0][:100] if isinstance(error, ValueError) else "nested too deeply"
        raise Mistake(f"this line is no JSON object: {reason}", _id_in(line)) from None
    given, intent = members.pop("id", None), members.pop("intent", None)
    id_ = _id_of(given)
    if end != len(line):
        raise Mistake("one object a line: something stands behind this one", id_)
    try:
        if given is not None and id_ is None:
            raise UsageError(f"id is neither text of 1 to {LONGEST_ID} characters nor a whole number")
        if ("token" in line or "\\" in line) and _has_token(members):  # an escape can hide the name
            raise UsageError("leave the token out: the session has its own")
        asked = _meant(members, id_, patterns)
        return asked if intent is None else _named(asked, intent)
    except KrakenWSError as error:
        raise Mistake(str(error), id_, error) from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{shown(twice)} is given twice")
    return members


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


_DECODER = JSONDecoder(
    object_pairs_hook=_once, parse_float=_Number, parse_int=_Number, parse_constant=_no_number
)


_VERBS = {"do", "event", "method"}
_folded = lru_cache(maxsize=64)(canonical)
_LENIENT = JSONDecoder(parse_float=_Number, parse_int=_Number)
_NAME = re.compile(r'\s*("(?:[^"\\]|\\.)*")\s*:\s*')
_BEHIND = re.compile(r"\s*[,}]")


def _id_in(text: str) -> CallerId:
    """Return the id of an object that cannot be read as a whole, if what can be read has exactly one.

    Nothing is known to be whole before something stands behind it: half of a number is one, too.
    """
    ids = []
    at = 1
    try:
        while name := _NAME.match(text, at):
            value, at = _LENIENT.raw_decode(text, name.end())
            behind = _BEHIND.match(text, at)
            if behind is None:
                break
            at = behind.end()
            if name[1] == '"id"':
                ids.append(value)
    except (ValueError, RecursionError):
        pass  # here it is broken
    return _id_of(ids[0]) if len(ids) == 1 else None


def _id_of(value: object) -> CallerId:
    if isinstance(value, _Number):
        digits = value.removeprefix("-")
        return int(value) if digits.isdigit() and len(digits) <= 15 else None
    return value if isinstance(value, str) and 0 < len(value) <= LONGEST_ID else None


def _meant(members: dict[str, Any], id_: CallerId, patterns: Callable[[int], Expand | None]) -> Asked:
    spelled = _VERBS & members.keys()
    if len(spelled) != 1:
        raise UsageError('an object needs one of "do", "event" and "method", which says what is asked')
    spelling = spelled.pop()
    verb = members.pop(spelling)
    if verb.__class__ is not str:
        raise UsageError(f"{spelling} is no text")
    if spelling == "do":
        return _done(verb, members, id_, patterns)
    kraken = _of_v1 if spelling == "event" else _of_v2
    entry, verb, members = kraken(verb, members)
    return Asked(id_, _doing(verb, entry), _bound(entry, members, patterns), "", "")


def _has_token(value: object) -> bool:
    if isinstance(value, dict):
        return "token" in value or any(map(_has_token, value.values()))
    return isinstance(value, list) and any(map(_has_token, value))


def _done(
    verb: str, members: dict[str, Any], id_: CallerId, patterns: Callable[[int], Expand | None]
) -> Asked:
    name = _folded(verb)
    if name in {STATUS, QUIT, HELP}:
        words = [_text("name", value) for key, value in members.items() if name == HELP and key == "name"]
        if len(words) < len(members):
            odd = next(key for key in members if name != HELP or key != "name")
            raise UsageError(f"{name} takes no {shown(odd)}")
        return _help(words, id_) if name == HELP else Asked(id_, name)
    channel = members.pop("channel", None) if name == STOP else verb
    if not isinstance(channel, str):
        raise UsageError('unsubscribe needs a "channel"')
    api = members.pop("api", None)
    if api not in {None, "1", "2"}:
        raise UsageError("api is neither 1 nor 2")
    entry = _called(channel, None if api is None else int(api))
    if entry is None:
        raise UsageError(f"{shown(channel)} is no command of a session; run it by itself")
    return Asked(id_, _doing(name, entry), _bound(entry, members, patterns), "", "")


@lru_cache(maxsize=64)
def _called(name: str, api: int | None) -> Entry | None:
    """Return what a name stands for; programs say the same few names again and again."""
    return look_up(name, api)[0]


def _of_v1(verb: str, members: dict[str, Any]) -> tuple[Entry, str, dict[str, Any]]:
    """Source: v1.md sections 5 and 9."""
    if verb not in {"subscribe", STOP}:
        return _entry(verb, 1), verb, members
    subscription = members.pop("subscription", None)
    if not isinstance(subscription, dict):
        raise UsageError(f'{verb} needs a "subscription" with the name of a channel')
    return _channel(verb, subscription.pop("name", None), {**members, **subscription}, 1)


def _of_v2(verb: str, members: dict[str, Any]) -> tuple[Entry, str, dict[str, Any]]:
    """Source: v2.md section 3."""
    params = members.pop("params", {})
    if not isinstance(params, dict):
        raise UsageError("params is no object")
    if verb not in {"subscribe", STOP}:
        return _entry(verb, 2), verb, {**params, **members}
    return _channel(verb, params.pop("channel", None), {**params, **members}, 2)


def _channel(verb: str, name: object, members: dict[str, Any], api: int) -> tuple[Entry, str, dict[str, Any]]:
    entry = _entry(name, api) if isinstance(name, str) else None
    if entry is None or entry.kind != CHANNEL:
        raise UsageError(f"{verb} needs the name of a channel")
    return entry, verb, members


def _entry(name: str, api: int) -> Entry:
    """Kraken's names are taken as Kraken takes them: to the letter."""
    entry = find(entries(), name, api)
    if entry is None or entry.name != name:
        known = ", ".join(entry.name for entry in entries() if entry.api == api)
        raise UsageError(f"API v{api} has no {shown(name)} here; it knows {known}")
    return entry


def _bound(entry: Entry, members: dict[str, Any], patterns: Callable[[int], Expand | None]) -> Bound:
    named, placed = entry.named, []
    for name, value in members.items():
        param = named.get(name) or entry.param(name)
        if param is None:
            known = ", ".join(named) or "no parameters"
            raise UsageError(f"{entry.name} has no parameter {shown(name)}; it knows {known}")
        placed.append((param, value if value.__class__ is str else _text(name, value)))
    return bind_texts(entry, placed, patterns(entry.api))


def _text(name: str, value: object) -> str:
    """Return a JSON value as the word it would be on the command line."""
    if value.__class__ is str:
        return value
    if isinstance(value, _Number):
        if len(value) > _LONGEST_NUMBER:
            raise UsageError(f"{shown(name)} has more digits than anything here")
        return str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list) and all(isinstance(item, str) and "," not in item for item in value):
        return ",".join(value)
    what = "null" if value is None else "an object" if isinstance(value, dict) else "no list of texts"
    raise UsageError(f"{shown(name)} is {what}; leave out what is not given")
