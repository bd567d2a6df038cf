"""What may be said: channels and commands as data, and the grammar that binds words to their parameters.

Everything about a word a user may type derives from here: help, validation, wire types, completion, JSON
Schema, reference docs and the sandbox's input check. An `Entry` is declared once, in `v1_entries.py` or
`v2_entries.py`.

The grammar is the original script's: bare `BASE/QUOTE` pairs, a bare integer, `key=value` split at the first
`=`, lists by comma. Names may be written in any case, with `-` or `_` anywhere.
"""

from __future__ import annotations

from krakenws.core.kinds import IDS, INTEGER, PAIR, PAIRS, WORDS, is_digits, items, normal_pair
from krakenws.errors import UsageError
from krakenws.record import cached_property, record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from krakenws.core.kinds import Kind, Value

    Values = dict[str, Value]
    Wrong = tuple[str, str]
    """The field that is wrong, as named on the wire, and the sentence that says so."""
    Expand = Callable[[str], list[str]]
    """Turns a pair pattern (`*/USD`) into pairs; given by the caller: it needs the exchange's list."""

CHANNEL = "channel"
COMMAND = "command"
PUBLIC = "public"
PRIVATE = "private"

_FOLDED = str.maketrans("", "", "-_[]")
_MOST_KNOWN = 1024
_LONGEST_KNOWN = 64


@record
class Param:
    """One parameter of an entry: light data, read by the grammar, help, docs and schema alike."""

    name: str
    kind: Kind
    help: str
    required: bool = False
    choices: tuple[str | int, ...] = ()
    default: Value | None = None
    """What the exchange assumes; only those of `always` parameters are sent."""
    always: bool = False
    """Sent with its default when not given, as the original script does with depth and interval."""
    bare: bool = False
    """May stand as a bare integer."""
    example: str = ""
    wire: str = ""
    """The field it becomes, when not `name`: `userref` of cancelOrder joins `txid`."""
    at_least: int = 0


@record
class Entry:
    """One channel or command, declared once.

    `rows` names the row type of its data. `owes_snapshot` says that data must follow an ack (quirk L3);
    `answers` names the list parameter whose length is the number of answers; `rules` are checks over all
    values, each giving what is `Wrong` or None; of a decimal without a sign they ask no more than whether it
    is zero, and say nothing against one that is not. `reply` is the event or method of its answer.
    """

    api: int
    name: str
    kind: str
    access: str
    help: str
    params: tuple[Param, ...] = ()
    rows: str = ""
    reply: str = ""
    owes_snapshot: bool = False
    answers: str = ""
    trading: bool = False
    explicit: bool = False
    """Found only when its API is asked for by number: `balances` never existed on v1 (quirk P9)."""
    rules: tuple[Callable[[Values], Wrong | None], ...] = ()
    examples: tuple[str, ...] = ()
    source: str = ""
    notes: tuple[str, ...] = ()

    def param(self, name: str) -> Param | None:
        """Return the parameter of that name in any spelling, or None."""
        found = self.named.get(name)  # programs write it as it is
        return self._folded.get(canonical(name)) if found is None else found

    @cached_property
    def named(self) -> dict[str, Param]:
        """The parameters by their names as declared."""
        return {param.name: param for param in self.params}

    @cached_property
    def wired(self) -> dict[str, Param]:
        """The parameters by what they are called in `Bound.values`."""
        return {param.wire or param.name: param for param in self.params}

    @cached_property
    def decimals(self) -> frozenset[str]:
        """Those of `wired` that take any decimal number above zero."""
        return frozenset(name for name, param in self.wired.items() if param.kind.takes_decimals)

    @cached_property
    def _folded(self) -> dict[str, Param]:
        return {canonical(param.name): param for param in self.params}

    @cached_property
    def known(self) -> dict[tuple[str, str], str | int]:
        """Values that texts of parameters were read as before: programs give the same few again and again."""
        return {}

    @cached_property
    def owed(self) -> tuple[Param, ...]:
        """The parameters that a frame cannot do without: they are given, or sent with their default."""
        return tuple(param for param in self.params if param.always or param.required)

    @property
    def pairs(self) -> Param | None:
        """The parameter that takes pairs, or None."""
        return next((param for param in self.params if param.kind is PAIRS or param.kind is PAIR), None)


@record
class Bound:
    """An entry with its values: names as declared, in the order given, wire types."""

    entry: Entry
    values: Values

    def __init__(self, entry: Entry, values: Values) -> None:
        state = self.__dict__
        state["entry"], state["values"] = entry, values

    @property
    def symbols(self) -> list[str]:
        """The pairs a channel is asked for; empty for private channels and commands."""
        value = self.values.get("pair") or self.values.get("symbol")
        return value if isinstance(value, list) else []

    @cached_property
    def only_validates(self) -> bool:
        """Whether a command asks only to be checked. Source: v1 addOrder (text) and editOrder (boolean)."""
        return self.values.get("validate") in {True, "true"}


def canonical(name: str) -> str:
    """Fold the spellings of a name: `open-orders`, `open_orders`, `OPENORDERS` are `openorders`."""
    return name.lower().translate(_FOLDED)


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """Return the choice that `word` is most likely a slip of, or None."""
    from difflib import get_close_matches

    spelled = {canonical(choice): choice for choice in choices}
    found = get_close_matches(canonical(word), spelled, n=1, cutoff=0.6)
    return spelled[found[0]] if found else None


def _meant(word: str, choices: Sequence[str]) -> str:
    found = nearest(word, choices)
    return f" Did you mean {found}?" if found else ""


def find(entries: Iterable[Entry], name: str, api: int | None = None) -> Entry | None:
    """Return the entry of that name in any spelling; without `api`, v1 first."""
    wanted = canonical(name)
    found = [
        entry
        for entry in entries
        if canonical(entry.name) == wanted and (entry.api == api or (api is None and not entry.explicit))
    ]
    return min(found, key=lambda entry: entry.api, default=None)


def bind(entry: Entry, words: Sequence[str], expand: Expand | None = None) -> Bound:
    """Bind words (`XBT/USD`, `10`, `price=7500`) to the parameters of an entry.

    Raises:
        UsageError: one sentence on the first word that does not fit, with the valid choices and the nearest
            spelling. Nothing is guessed and nothing rounded.
    """
    return bind_texts(entry, [_place(entry, word) for word in words], expand)


def bind_texts(entry: Entry, placed: Iterable[tuple[Param, str]], expand: Expand | None = None) -> Bound:
    """Bind texts to the parameters they are given to, as `bind` does.

    Raises:
        UsageError: as `bind`.
    """
    given: Values = {}
    known = entry.known
    for param, text in placed:
        key = param.name, text
        value: Value | None = known.get(key)
        if value is None:
            value = _read(entry, param, text, expand)
            if not isinstance(value, list) and len(text) <= _LONGEST_KNOWN:  # a list may be made of patterns
                if len(known) >= _MOST_KNOWN:
                    known.clear()
                known[key] = value
        name = param.wire or param.name
        if name in given:
            value = _joined(entry, param, given[name], value)
        given[name] = value
    return _ruled(entry, _with_defaults(entry, given))


def rebind(bound: Bound, names: Sequence[str], numbers: Sequence[str]) -> Bound:
    """Return a bound entry with other values of parameters that have one value each.

    Args:
        bound: it.
        names: what the parameters are called in its values.
        numbers: decimal text for each of them, of at most 40 digits.

    Raises:
        UsageError: as `bind`.
    """
    entry, values, is_ruled = bound.entry, {**bound.values}, True
    decimals = entry.decimals
    for name, number in zip(names, numbers):  # noqa: B905 - as many; to say so would cost
        if name in decimals and number.strip("0."):
            values[name] = number  # which no rule minds
        else:
            values[name] = _read(entry, entry.wired[name], number, None)
            is_ruled = False
    if not is_ruled:
        return _ruled(entry, values)
    again = Bound(entry, values)
    again.__dict__["only_validates"] = bound.only_validates  # which takes no number
    return again


def _ruled(entry: Entry, values: Values) -> Bound:
    for rule in entry.rules:
        wrong = rule(values)
        if wrong:
            raise UsageError(f"{entry.name}: {wrong[1]}")
    return Bound(entry, values)


def _place(entry: Entry, word: str) -> tuple[Param, str]:
    """Find the parameter a word belongs to, and its text."""
    name, equals, text = word.partition("=")
    if equals:
        param = entry.param(name)
        if param is None:
            names = [param.name for param in entry.params]
            known = f"it knows {', '.join(names)}" if names else "it takes no parameters"
            raise UsageError(
                f"{entry.name} has no parameter {shown(name)}; {known}.{_meant(name, names)}".rstrip(".")
            )
        return param, text
    is_number = is_digits(word)
    param = next((param for param in entry.params if param.bare), None) if is_number else entry.pairs
    key = None if "/" in word else _key_of(entry, word)
    if param is not None and key is None:
        return param, word
    hint = f"; did you mean {key.name}={shown(word)}?" if key else ""
    if is_number:
        raise UsageError(f"{entry.name} takes no bare number: {word}{hint}")
    known = ", ".join(param.name for param in entry.params)
    takes = f"parameters are written key=value: {known}" if known else "it takes no parameters"
    raise UsageError(f"{entry.name} does not take {shown(word)}; {takes}{hint}")


def _key_of(entry: Entry, word: str) -> Param | None:
    """Return the parameter whose value a word without a key must be: one of its choices, an id, a number."""
    if is_digits(word):
        bare = any(param.bare for param in entry.params)
        return next(
            (param for param in entry.params if param.required and param.kind is INTEGER and not bare), None
        )
    for param in entry.params:
        if canonical(word) in map(canonical, map(str, param.choices)):
            return param
    return next((param for param in entry.params if param.kind is IDS), None)


def _read(entry: Entry, param: Param, text: str, expand: Expand | None) -> Value:
    try:
        if param.kind is PAIRS:
            return [pair for item in items(text) for pair in _pairs(item, entry.api, expand)]
        if param.kind is PAIR:
            return normal_pair(text, entry.api)
        value = param.kind.parse(text)
    except ValueError as error:
        raise UsageError(f"{entry.name}: {param.name}={shown(text)} {error}") from None
    if param.choices:
        value = (
            [_choose(entry, param, item) for item in value]
            if isinstance(value, list)
            else _choose(entry, param, value)
        )
    if isinstance(value, int) and not isinstance(value, bool) and value < param.at_least:
        raise UsageError(f"{entry.name}: {param.name}={value} is below {param.at_least}")
    return ",".join(value) if param.kind is WORDS and isinstance(value, list) else value


def _pairs(text: str, api: int, expand: Expand | None) -> list[str]:
    if "*" not in text and "?" not in text:
        return [normal_pair(text, api)]
    if expand is None:
        raise ValueError("is a pattern, and there is no list of pairs to expand it from")
    if "/" not in text:
        raise ValueError("is no pattern of BASE/QUOTE, such as '*/USD'")
    found = expand(normal_pair(text, api))
    if not found:
        raise ValueError("matches no pair the exchange lists")
    return found


def _choose(entry: Entry, param: Param, value: Value) -> str:
    """Return the choice a value stands for, in the exchange's spelling."""
    if isinstance(value, str) and value in param.choices:  # as programs write it
        return value
    for choice in param.choices:
        if value == choice or (isinstance(value, str) and canonical(value) == canonical(str(choice))):
            return choice  # type: ignore[return-value]  # an int stays an int; callers only pass it on
    choices = [str(choice) for choice in param.choices]
    if isinstance(value, int):
        near = min(
            (choice for choice in param.choices if isinstance(choice, int)), key=lambda c: abs(c - value)
        )
        meant = f" Did you mean {near}?"
    else:
        meant = _meant(str(value), choices)
    raise UsageError(
        f"{entry.name}: {param.name}={shown(str(value))} is not offered; choose from {', '.join(choices)}."
        f"{meant}".rstrip(".")
    )


def _joined(entry: Entry, param: Param, before: Value, value: Value) -> Value:
    """Return the value of what is given more than once."""
    if not isinstance(before, list) or not isinstance(value, list):
        raise UsageError(f"{entry.name}: {param.name} is given twice")
    return before + value


def _with_defaults(entry: Entry, given: Values) -> Values:
    values: Values = {}
    missing = []
    for param in entry.owed:
        name = param.wire or param.name
        if name in given:
            continue
        if param.required:
            missing.append(param)
        elif param.default is not None:
            values[name] = param.default
    if missing:
        raise UsageError(_missing(entry, missing))
    for name, value in given.items():
        values[name] = list(dict.fromkeys(value)) if isinstance(value, list) else value
    return values


def _missing(entry: Entry, params: Sequence[Param]) -> str:
    example = f", for example: {entry.examples[0]}" if entry.examples else ""
    what = ", ".join(map(_wanted, params))
    return f"{entry.name} needs {what}{example}"


def _wanted(param: Param) -> str:
    choices = f" ({', '.join(map(str, param.choices))})" if param.choices else ""
    return f"{'a pair' if param.kind is PAIRS else f'{param.name}='}{choices}"


def shown(text: str, longest: int = 60) -> str:
    """Make text of a user or of the wire fit for a terminal: control characters escaped, not too long."""
    cut = text if len(text) <= longest else text[: longest - 3] + "…"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut) or "(nothing)"
