"""Lines that are known again: programs say the same few things, with other ids and other numbers.

A line is known by what stands between its numbers. When such a form comes for the second time, it is learned
which parameter takes which number, and proved with other numbers on `read_line`; from the third time on only
the numbers are read. What cannot be proved is read anew each time.
"""

from __future__ import annotations

import re

from krakenws.cli.asking import Asked, Mistake, is_blank, read_line
from krakenws.core.catalog import rebind
from krakenws.errors import KrakenWSError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from krakenws.core.catalog import Expand
    from krakenws.core.session import CallerId

_ID_APART = re.compile(
    r"""\{ *"id" *: *(?:"([\w.:/-]{1,200})"|([1-9][0-9]{0,14})) *, *|([^{].*) id=([\w.:/-]{1,200})$"""
)
"""A line's id where programs put it, in spellings that mean themselves."""
_NUMBER = re.compile(r"""([0-9](?<=[=": ][0-9])(?:(?<=[1-9])[0-9]{0,15})?(?:\.[0-9]{1,20})?)(?=[", }]|$)""")
"""A whole value: leading zeros, which JSON does not know outside of texts, are left where they are.

It begins with a digit, for which `re` can leap ahead, and looks at what is before it from there.
"""
_MOST_FORMS = 256
_LONGEST = 512
_PLAIN = {str, int}


class _Form:
    """What lines of one form ask.

    Attributes:
        asked: what one of them asked.
        names: the parameters that take the numbers, in their order, as its values call them.
    """

    __slots__ = ("asked", "names")

    def __init__(self, asked: Asked, names: Sequence[str]) -> None:
        self.asked = asked
        self.names = names

    def fill(self, id_: CallerId, numbers: Sequence[str]) -> Asked:
        """Return what a line of this form asks.

        Raises:
            KrakenWSError: nothing possible.
        """
        asked = self.asked
        bound = asked.bound
        if bound is not None and numbers:
            bound = rebind(bound, self.names, numbers)
        return Asked(id_, asked.do, bound, asked.topic, asked.intent)


class Reader:
    """Reads lines. Patterns are read anew each time: their pairs may have changed.

    Args:
        patterns: as `read_line` takes them.
    """

    def __init__(self, patterns: Callable[[int], Expand]) -> None:
        self._patterns = patterns
        self._forms: dict[tuple[str, ...], _Form] = {}
        self._times: dict[tuple[str, ...], int] = {}

    def read(self, line: str) -> Asked | None:
        """Return what a line asks, None if that is nothing at all.

        Raises:
            Mistake: as `read_line` does.
        """
        apart = _ID_APART.match(line) if len(line) <= _LONGEST else None
        if apart is None:
            return None if is_blank(line) else read_line(line, self._patterns)
        text, number, words, word = apart.groups()
        id_: CallerId = int(number) if number else text or word
        cut = _NUMBER.split(words or "{" + line[apart.end() :])
        key = tuple(cut[::2])
        form = self._forms.get(key)
        if form is not None:
            try:
                return form.fill(id_, cut[1::2])
            except KrakenWSError as error:
                raise Mistake(str(error), id_, error) from None
        if words and is_blank(line):
            return None
        asked = read_line(line, self._patterns)
        if asked.id == id_:
            self._learn(key, cut, asked)
        return asked

    def _learn(self, key: tuple[str, ...], cut: list[str], asked: Asked) -> None:
        if len(self._times) >= _MOST_FORMS:
            self._times.clear()
            self._forms.clear()
        times = self._times[key] = self._times.get(key, 0) + 1
        if times == 2 and (form := self._form_of(cut, asked)) is not None:
            self._forms[key] = form

    def _form_of(self, cut: list[str], asked: Asked) -> _Form | None:
        """Return the form of a line, given as texts and numbers by turns; None if it cannot be proved."""
        texts, numbers = cut[::2], cut[1::2]
        values = {} if asked.bound is None else asked.bound.values
        taken = [
            name for name, value in values.items() if value.__class__ in _PLAIN and str(value) in numbers
        ]
        if [str(values[name]) for name in taken] != numbers:
            return None
        form = _Form(asked, taken)
        others = [f"{at}.5" if "." in number else str(at) for at, number in enumerate(numbers, 3)]
        line = "".join(text + other for text, other in zip(texts, [*others, ""], strict=True))
        try:
            proved = form.fill(None, others) == read_line(line, _no_patterns)
        except KrakenWSError:
            return None
        return form if proved else None


def _no_patterns(_api: int) -> None:
    """Expand nothing: what has patterns, however they are spelled, cannot be proved."""
