"""A row of the fault matrix: what goes wrong, what a user sees of it, and how soon."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.scene import Scene

    Play = Callable[[Scene], None]
    Memory = Callable[[], None]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One fault.

    Attributes:
        group: which part of the matrix it belongs to.
        name: its anchor, and the test's.
        fault: what goes wrong.
        sees: what a user sees, in words for the page.
        play: makes it happen to the installed command; or `memory`: to the protocols alone, time injected.
        code: how the command ends.
        tells: events on stdout that follow the fault, in this order; the first is how it is noticed, unless
            there is nothing to notice: then it is data.
        says: what stands on stderr, a regular expression; "" for nothing at all.
        noticed_s, back_s: the most it may take until it is told, and until there is data again; None where
            there is nothing to tell, or nothing to come back to. Far more than it takes: machines are busy.
        all_fills: whether every fill of the user during the row must have been told.
        books: how many book lines must have been verified, at the least.
        waits_for: the feature that is still missing; the row fails, and must.
    """

    group: str
    name: str
    fault: str
    sees: str
    play: Play | None = None
    memory: Memory | None = None
    code: int | None = 0
    tells: tuple[str, ...] = ()
    says: str = ""
    noticed_s: float | None = None
    back_s: float | None = None
    books: int = 0
    all_fills: bool = False
    waits_for: str = ""


class Group:
    """Rows of one part of the matrix, added by decorating what plays them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.rows: list[Row] = []

    def row(
        self,
        fault: str,
        sees: str,
        *,
        code: int | None = 0,
        tells: str = "",
        says: str = "",
        noticed_s: float | None = None,
        back_s: float | None = None,
        books: int = 0,
        all_fills: bool = False,
        waits_for: str = "",
    ) -> Callable[[Play], Play]:
        """Add a row that the installed command plays."""

        def add(play: Play) -> Play:
            self.rows.append(
                Row(
                    group=self.name,
                    name=play.__name__,
                    fault=fault,
                    sees=sees,
                    play=play,
                    code=code,
                    tells=tuple(tells.split()),
                    says=says,
                    noticed_s=noticed_s,
                    back_s=back_s,
                    books=books,
                    all_fills=all_fills,
                    waits_for=waits_for,
                )
            )
            return play

        return add

    def memory(self, fault: str, sees: str, *, waits_for: str = "") -> Callable[[Memory], Memory]:
        """Add a row that is played in memory, because it takes too long to wait for."""

        def add(memory: Memory) -> Memory:
            self.rows.append(
                Row(
                    group=self.name,
                    name=memory.__name__,
                    fault=fault,
                    sees=sees,
                    memory=memory,
                    code=None,
                    waits_for=waits_for,
                )
            )
            return memory

        return add
