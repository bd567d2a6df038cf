"""`Poller` where it spins; all else is tested by those who wait with it."""

from __future__ import annotations

import os

import pytest

from krakenws.net import poller as module
from krakenws.net.poller import READ, Poller, SpinningPoller


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
        return [7]

    def wait(self, takes_s: float, timeout_s: float | None, awake_s: float) -> list[float | None]:
        """Wait for what comes so late; return for how long it was to sleep."""
        self.takes_s, self.slept = takes_s, []
        assert self.poller.wait_awake(timeout_s, self.now + awake_s) == [7]
        return self.slept


def test_who_waits_awake_does_not_sleep_for_what_comes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    assert clock.wait(0.0003, None, 0.001) == []
    assert clock.wait(0.0003, 0.5, 0.001) == []


def test_who_waited_awake_in_vain_sleeps_for_the_rest_of_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    assert clock.wait(0.02, None, 0.001) == [None]
    (slept,) = clock.wait(0.02, 0.5, 0.001)
    assert slept == pytest.approx(0.499, abs=1e-5)


def test_nobody_stays_awake_beyond_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    began = clock.now
    clock.takes_s = 0.0003
    clock.poller.wait_awake(0.0001, clock.now + 0.001)
    assert clock.now == pytest.approx(began + 0.0001, abs=5e-6)


def test_nobody_stays_awake_when_it_is_too_late_for_that(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Clock(monkeypatch).wait(0.0001, 5.0, -1.0) == [5.0]


def test_nobody_stays_awake_on_the_only_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Clock(monkeypatch, company=False).wait(0.0001, None, 0.001) == [None]
