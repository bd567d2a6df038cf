"""`Poller` where it spins; all else is tested by those who wait with it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from krakenws.net import poller as module
from krakenws.net.poller import READ, Poller, SpinningPoller

if TYPE_CHECKING:
    import pytest


class End:
    """One end of a pipe."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def fileno(self) -> int:
        return self.fd


def test_a_spinning_poller_asks_until_something_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    asked: list[float | None] = []
    wait = Poller.wait

    def counted(poller: Poller, timeout_s: float | None) -> list[int]:
        asked.append(timeout_s)
        if len(asked) == 100:
            os.write(writer, b"x")
        return wait(poller, timeout_s)

    monkeypatch.setattr(Poller, "wait", counted)
    poller = SpinningPoller()
    poller.watch(7, ((End(reader), READ),))
    assert poller.wait(None) == [7]
    assert asked == [0.0] * 100
    os.close(reader)
    os.close(writer)


def test_a_spinning_poller_knows_when_time_ran_out() -> None:
    assert SpinningPoller().wait(0.01) == []


class Clock:
    """A poller whose waits take as long as they are told to; it notes how long it was to sleep."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, company: bool = True) -> None:
        self.now = 100.0
        self.takes_s = 0.0
        self.slept: list[float | None] = []
        monkeypatch.setattr(module, "monotonic", lambda: self.now)
        monkeypatch.setattr(module, "_HAS_COMPANY", company)
        monkeypatch.setattr(Poller, "wait", self._wait)
        self.poller = Poller()

    def _wait(self, timeout_s: float | None) -> list[int]:
        if timeout_s == 0.0:
            self.now += 1e-6
            self.takes_s -= 1e-6
            return [7] if self.takes_s <= 0 else []
        self.slept.append(timeout_s)
        self.now += self.takes_s
        return [7]

    def wait(self, takes_s: float, timeout_s: float | None = None) -> list[float | None]:
        """Wait for what comes so late; return for how long it was to sleep."""
        self.takes_s, self.slept = takes_s, []
        assert self.poller.wait_awake(timeout_s) == [7]
        return self.slept


def test_who_waits_awake_does_not_sleep_for_what_comes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    assert [clock.wait(0.0003) for _ in range(3)] == [[], [], []]


def test_who_waited_in_vain_sleeps_at_once_until_it_would_have_paid(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    assert clock.wait(0.02) == [None]
    began = clock.now
    assert clock.wait(0.02) == [None]
    assert clock.now == began + 0.02, "it looked around first"
    assert clock.wait(0.0002) == [None]
    assert clock.wait(0.0002) == []


def test_nobody_stays_awake_beyond_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    began = clock.now
    assert clock.wait(0.0003, 0.0001) == [0.0001]
    assert clock.now < began + 0.0005


def test_nobody_stays_awake_on_the_only_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, company=False)
    assert [clock.wait(0.0001) for _ in range(2)] == [[None], [None]]
