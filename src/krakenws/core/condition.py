"""What `krakenws wait` waits for: the grammar of a condition, and its value.

Grammar::

    condition  = any [ "for" DURATION ]
    any        = all { "or" all }
    all        = part { "and" part }
    part       = "(" any ")" | comparison
    comparison = value ( ">=" | "<=" | ">" | "<" | "==" | "!=" ) value
    value      = NUMBER | PAIR QUANTITY
    QUANTITY   = "ask" | "bid" | "last" | "mid" | "spread" | "volume"

`and` binds tighter than `or`. `for` stands at the end and is about the whole condition. Words may be in any
letter case; a number is plain decimal text; at least one side of a comparison is a quantity.

A quantity may be unknown. Then logic has three values (Kleene): what is known decides where it can, so that
"unknown or true" is true, "unknown and false" is false, and everything else with an unknown part is unknown.
"""

from __future__ import annotations

from krakenws.core.catalog import nearest, shown
from krakenws.core.kinds import AMOUNT_OR_ZERO, duration, normal_pair
from krakenws.errors import UsageError
from krakenws.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from decimal import Decimal

QUANTITIES = ("ask", "bid", "last", "mid", "spread", "volume")
COMPARISONS = (">=", "<=", ">", "<", "==", "!=")
_WORDS = ("and", "or", "for")
_OTHER_SPELLINGS = {
    "=": "==",
    "=>": ">=",
    "=<": "<=",
    "<>": "!=",
    "!": "!=",
    "≥": ">=",
    "≤": "<=",
    "≠": "!=",
    "&": "and",
    "&&": "and",
    "|": "or",
    "||": "or",
    "not": "!=",
}
_EXAMPLE = "such as 'XBT/USD bid >= 65000'"
_DEEPEST = 50
"""Parentheses within parentheses; far below where Python's own stack ends."""
_BEGIN_NUMBERS = "0123456789.+-"


@record
class Number:
    """A number, in its user's digits."""

    text: str

    def __str__(self) -> str:
        return self.text


@record
class Quantity:
    """A figure of a pair: `name` is one of `QUANTITIES`, `symbol` the pair as API v1 names it."""

    symbol: str
    name: str

    def __str__(self) -> str:
        return f"{self.symbol} {self.name}"


@record
class Comparison:
    """Two values, at least one of them a quantity, and what stands between them."""

    left: Number | Quantity
    operator: str
    right: Number | Quantity

    def __str__(self) -> str:
        return f"{self.left} {self.operator} {self.right}"


@record
class All:
    """Parts that must hold together."""

    parts: tuple[Part, ...]

    def __str__(self) -> str:
        return " and ".join(f"({part})" if isinstance(part, All | Any) else str(part) for part in self.parts)


@record
class Any:
    """Parts of which one must hold."""

    parts: tuple[Part, ...]

    def __str__(self) -> str:
        return " or ".join(f"({part})" if isinstance(part, Any) else str(part) for part in self.parts)


if TYPE_CHECKING:
    Part = Comparison | All | Any


@record
class Condition:
    """A parsed condition; as text it is the same again, in the words of the grammar.

    Attributes:
        root: what must hold.
        held: for how long without a break, in its user's words: `3s`; "" for a moment.
        hold_s: the same in seconds.
    """

    root: Part
    held: str
    hold_s: float

    def __str__(self) -> str:
        return f"{self.root} for {self.held}" if self.held else str(self.root)

    @property
    def quantities(self) -> list[Quantity]:
        """What it speaks of, each once, in order."""
        return list(dict.fromkeys(_quantities(self.root)))


def _quantities(part: Part) -> list[Quantity]:
    if isinstance(part, Comparison):
        return [value for value in (part.left, part.right) if isinstance(value, Quantity)]
    return [quantity for inner in part.parts for quantity in _quantities(inner)]


# ---- value


def holds(part: Part, value_of: Callable[[Number | Quantity], Decimal | None]) -> bool | None:
    """Return whether it holds: None when what is known does not decide it.

    Args:
        part: the root of a condition, or one of its parts.
        value_of: gives the value of a number or a quantity, None for one that is unknown.
    """
    if isinstance(part, Comparison):
        left, right = value_of(part.left), value_of(part.right)
        return None if left is None or right is None else _compare(left, part.operator, right)
    decides = isinstance(part, Any)
    verdict: bool | None = not decides
    for inner in part.parts:
        held = holds(inner, value_of)
        if held is decides:
            return decides
        if held is None:
            verdict = None
    return verdict


def _compare(left: Decimal, operator: str, right: Decimal) -> bool:
    if operator == ">=":
        return left >= right
    if operator == "<=":
        return left <= right
    if operator == ">":
        return left > right
    if operator == "<":
        return left < right
    return (left == right) is (operator == "==")


# ---- grammar


def parse(text: str) -> Condition:
    """Return the condition that a text is.

    Raises:
        UsageError: it is none; the sentence names the word that does not fit, its place, and the nearest.
    """
    return _Parser(_tokens(text)).condition()


def _tokens(text: str) -> list[str]:
    """Split at white space, around parentheses, and around runs of comparison signs."""
    tokens: list[str] = []
    kind_before = ""
    for character in text:
        kind = "" if character.isspace() else "sign" if character in "<>=!" else "word"
        if character in "()":
            kind = character
        if kind and kind == kind_before and kind not in "()":
            tokens[-1] += character
        elif kind:
            tokens.append(character)
        kind_before = kind
    return tokens


class _Parser:
    """Reads tokens from left to right; one method a rule of the grammar."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0

    def condition(self) -> Condition:
        if not self._tokens:
            raise UsageError(f"wait needs a condition, {_EXAMPLE}")
        root = self._any()
        held, hold_s = "", 0.0
        if self._takes("for"):
            held = self._next("a duration such as 3s")
            try:
                hold_s = duration(held)
            except ValueError as error:
                raise self._wrong(str(error)) from None
        if self._at < len(self._tokens):
            raise self._unexpected(behind_for=bool(held))
        return Condition(root, held, hold_s)

    def _any(self) -> Part:
        parts = [self._all()]
        while self._takes("or"):
            parts.append(self._all())
        return parts[0] if len(parts) == 1 else Any(tuple(parts))

    def _all(self) -> Part:
        parts = [self._part()]
        while self._takes("and"):
            parts.append(self._part())
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def _part(self) -> Part:
        if not self._takes("("):
            return self._comparison()
        if self._depth == _DEEPEST:
            raise self._wrong(f"is one parenthesis too deep: {_DEEPEST} within each other are enough")
        self._depth += 1
        part = self._any()
        if self._peek() != ")":
            raise self._unexpected(closing=True)
        self._at += 1
        self._depth -= 1
        return part

    def _comparison(self) -> Comparison:
        left = self._value()
        operator = self._next(f"a comparison ({', '.join(COMPARISONS)})")
        if operator not in COMPARISONS:
            raise self._wrong(f"is no comparison ({', '.join(COMPARISONS)})", COMPARISONS, _quoting(operator))
        right = self._value()
        if isinstance(left, Number) and isinstance(right, Number):
            raise self._wrong("is compared with a number: one side must be a quantity such as XBT/USD bid")
        return Comparison(left, operator, right)

    def _value(self) -> Number | Quantity:
        word = self._next("a pair such as XBT/USD, or a number")
        if word[0] in _BEGIN_NUMBERS and "/" not in word:
            return self._number(word)
        if word.lower() in QUANTITIES:
            raise self._wrong(f"stands without its pair: write XBT/USD {word.lower()}")
        if word.lower() in {"not", "!"}:
            raise self._wrong("is not part of a condition: turn the comparison round")
        if "*" in word or "?" in word:
            raise self._wrong("is a pattern: a condition names its pairs one by one")
        try:
            symbol = normal_pair(word, 1)
        except ValueError as error:
            raise self._wrong(str(error)) from None
        name = self._next(f"a quantity ({', '.join(QUANTITIES)})").lower()
        if name not in QUANTITIES:
            raise self._wrong(f"is no quantity ({', '.join(QUANTITIES)})", QUANTITIES)
        return Quantity(symbol, name)

    def _number(self, word: str) -> Number:
        try:
            return Number(str(AMOUNT_OR_ZERO.parse(word)))
        except ValueError as error:
            raise self._wrong(str(error)) from None

    # ---- tokens

    def _peek(self) -> str:
        return self._tokens[self._at].lower() if self._at < len(self._tokens) else ""

    def _takes(self, word: str) -> bool:
        if self._peek() != word:
            return False
        self._at += 1
        return True

    def _next(self, expected: str) -> str:
        """Take a token, whatever it is."""
        if self._at == len(self._tokens):
            raise UsageError(
                f"wait: the condition ends behind {shown(self._tokens[-1])}, where {expected} is missing"
            )
        self._at += 1
        return self._tokens[self._at - 1]

    def _wrong(self, what: str, choices: Sequence[str] = (), hint: str = "") -> UsageError:
        """Say what the token taken last is, and what was probably meant."""
        word = self._tokens[self._at - 1]
        meant = _meant(word, choices)
        did_you_mean = f"; did you mean {meant}?" if meant else hint
        return UsageError(f"wait: {shown(word)} (word {self._at} of the condition) {what}{did_you_mean}")

    def _unexpected(self, *, behind_for: bool = False, closing: bool = False) -> UsageError:
        """Say that the next token cannot follow."""
        if self._at == len(self._tokens):
            return UsageError("wait: a parenthesis of the condition is not closed")
        self._at += 1
        word = self._tokens[self._at - 1].lower()
        if behind_for:
            return self._wrong("follows for, which ends a condition and is about all of it")
        if word == "for" and closing:
            return self._wrong("stands within parentheses: it ends a condition and is about all of it")
        if word == ")":
            return self._wrong("closes a parenthesis that was not opened")
        if word in COMPARISONS:
            return self._wrong("is a second comparison in one: join two with and")
        return self._wrong("cannot follow here: comparisons are joined with and, or", _WORDS)


def _meant(word: str, choices: Sequence[str]) -> str:
    other = _OTHER_SPELLINGS.get(word.lower(), "")
    return other if other in choices else nearest(word, choices) or ""


def _quoting(word: str) -> str:
    """A number where a comparison belongs: an unquoted > was the shell's."""
    return "; quote the condition, or the shell takes > and < for itself" if word[0].isdigit() else ""
