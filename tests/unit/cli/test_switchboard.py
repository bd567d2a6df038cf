"""A switchboard's patience: only where the last answer came at once is the next one waited for awake."""

from __future__ import annotations

from time import time_ns
from typing import TYPE_CHECKING, Any

from krakenws.cli import switchboard as module
from krakenws.cli.beside import Beside
from krakenws.cli.caller import Caller
from krakenws.cli.context import dialect_of
from krakenws.cli.switchboard import Switchboard
from krakenws.core.catalog import PUBLIC
from krakenws.core.events import Pong
from krakenws.options import Options

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest


class Run:
    """What a switchboard needs of a run to have pings sent."""

    told = (1, PUBLIC)
    ends = False

    def __init__(self) -> None:
        self.sent = 0

    def add(self, *_: object) -> int:
        self.sent += 1
        return self.sent

    def link(self, *_: object) -> None:
        return None

    def forget(self) -> None:
        return

    watch: Any = link


class Sink:
    """What a caller is told."""

    waiting: Sequence[Any] = ()

    def __init__(self) -> None:
        self.told: list[Any] = []

    def write(self, events: Sequence[Any]) -> None:
        self.told += events


class Session:
    """A session of one caller, at a time of the test's own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(module, "monotonic", lambda: self.now)
        none: Any = lambda *_: None  # noqa: E731 - for everything that does not happen here
        self.switchboard = Switchboard(
            Options(),
            dialect_of=dialect_of,
            patterns=none,
            beside=Beside(),
            clean=str,
            await_journal=lambda: None,
            help_on=str,
            leave=none,
            on_knock=none,
            on_gone=none,
        )
        run: Any = Run()
        sink: Any = Sink()
        self.run, self.sink = run, sink
        self.switchboard.steer(run)
        self.caller = Caller(1, sink, sink, alone=True)
        self.switchboard.join(self.caller)

    def ask(self, count: int = 1) -> float:
        """Ask; return for how long the answer is waited for awake."""
        self.caller.lines.feed(b"ping\n" * count)
        self.switchboard._busy[self.caller] = None
        self.switchboard.attend(self.now)
        return max(0.0, self.switchboard.awake_until - self.now)

    def answer(self, after_s: float, number: int = 0) -> None:
        self.now += after_s
        self.switchboard.write([Pong(time_ns(), number or self.run.sent, 0.0)])


def test_the_answer_is_waited_for_awake_where_the_last_one_came_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session = Session(monkeypatch)
    assert session.ask() == 0.0, "nobody knows how far the exchange is"
    session.answer(0.0003)
    assert round(session.ask(), 6) == 0.001
    session.answer(0.02)
    assert session.ask() == 0.0, "it is far away"
    session.answer(0.0003)
    assert session.ask() > 0.0
    assert len(session.sink.told) == 3


def test_nobody_stays_awake_once_everything_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(monkeypatch)
    session.ask()
    session.answer(0.0003)
    session.ask(2)
    session.answer(0.0001, 2)
    assert session.switchboard.awake_until > session.now
    session.answer(0.0001, 3)
    assert session.switchboard.awake_until == 0.0
