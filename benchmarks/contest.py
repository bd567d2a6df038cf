"""What all measurements have in common: contestants who take turns, and what each turn gave."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    Values = dict["Key", list[float]]


class FailedError(Exception):
    """A contestant did not do what it was measured at; the text says what happened."""


class Key(NamedTuple):
    """What a list of values is of."""

    contest: str
    who: str
    measure: str


class Column(NamedTuple):
    """How a measure is reported: the head of its column and the format of its median."""

    measure: str
    head: str
    form: str


class Contest:
    """One thing that several do in turns.

    Attributes:
        name: what it is called in the report, and selected by.
        contestants: who takes part, in the order of their turns.
        references: those whom all are compared with in the report.
        columns: what is measured; ratios are of the first.
        turns: how often each has its turn in a round.
        rounds: in how many rounds it takes place; None: in all.
    """

    name: str
    contestants: tuple[str, ...]
    references: tuple[str, ...] = ()
    columns: tuple[Column, ...]
    turns = 1
    rounds: int | None = None

    def prepare(self, who: str) -> None:
        """Make ready what a contestant needs.

        Raises:
            AbsentError: it cannot take part.
        """

    def staged(self) -> AbstractContextManager[None]:
        """Return what holds what a round needs, and nothing else does."""
        return nullcontext()

    def measure(self, who: str) -> dict[str, float]:
        """Let a contestant have its turn; return what was measured.

        Raises:
            FailedError: it did not do its work.
        """
        raise NotImplementedError
