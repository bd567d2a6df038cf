"""Contestants take their turns, round by round; who cannot, or breaks down, is left out with the reason."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from benchmarks.contest import FailedError, Key
from benchmarks.environments import AbsentError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from benchmarks.contest import Contest, Values
    from benchmarks.targets import Row

    Entrant = tuple[str, str]


class Turns:
    """The contests of a run, and what they gave.

    Args:
        contests: those to be held.
        rows: those whose contestants take part; None: everybody does.

    Attributes:
        values: what each turn gave.
        missing: contest and contestant that cannot take part, and why.
        failed: those of them who broke down.
    """

    def __init__(self, contests: list[Contest], rows: Iterable[Row] | None = None) -> None:
        self.values: Values = {}
        self.missing: dict[Entrant, str] = {}
        self.failed: set[Entrant] = set()
        self._contests = contests
        self._wanted = None if rows is None else {entrant for row in rows for entrant in _entrants(row)}

    def run(self, rounds: int) -> None:
        """Hold all contests."""
        for contest in self._contests:
            for who in self._taking_part(contest):
                progress(f"preparing {contest.name}, {who}")
                with self._excused((contest.name, who)):
                    contest.prepare(who)
        for number in range(rounds):
            for contest in self._contests:
                is_over = contest.rounds is not None and number >= contest.rounds
                if self._taking_part(contest) and not is_over:
                    progress(f"round {number + 1} of {rounds}: {contest.name}")
                    self._round(contest)
        progress("")

    def _taking_part(self, contest: Contest) -> list[str]:
        entrants = [(contest.name, who) for who in contest.contestants]
        return [
            entrant[1]
            for entrant in entrants
            if entrant not in self.missing and (self._wanted is None or entrant in self._wanted)
        ]

    def _round(self, contest: Contest) -> None:
        with self._excused(*((contest.name, who) for who in self._taking_part(contest))), contest.staged():
            for _ in range(contest.turns):
                for who in self._taking_part(contest):
                    self._measure(contest, who)

    def _measure(self, contest: Contest, who: str) -> None:
        with self._excused((contest.name, who)):
            for measure, value in contest.measure(who).items():
                self.values.setdefault(Key(contest.name, who, measure), []).append(value)

    @contextmanager
    def _excused(self, *entrants: Entrant) -> Iterator[None]:
        """Leave contestants out if they cannot do what they are asked for."""
        try:
            yield
        except AbsentError as error:
            self._leave_out(entrants, str(error))
        except FailedError as error:
            self.failed.update(entrants)
            self._leave_out(entrants, f"failed: {error}")

    def _leave_out(self, entrants: tuple[Entrant, ...], reason: str) -> None:
        self.missing.update(dict.fromkeys(entrants, " ".join(reason.split())))  # it stands in a table
        for key in [key for key in self.values if key[:2] in entrants]:
            del self.values[key]

    def includes(self, row: Row) -> bool:
        """Tell whether a row was to be measured."""
        return self._wanted is None or self._wanted.issuperset(_entrants(row))

    def has_broken(self, row: Row) -> bool:
        """Tell whether one of a row's two broke down."""
        return not self.failed.isdisjoint(_entrants(row))

    def reason(self, row: Row) -> str:
        """Return why a row has no ratio."""
        return next((self.missing[entrant] for entrant in _entrants(row) if entrant in self.missing), "")


def _entrants(row: Row) -> list[Entrant]:
    return [(key.contest, key.who) for key in (row.ours, row.rivals)]


def progress(text: str) -> None:
    """Say what is being done, to people only."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
