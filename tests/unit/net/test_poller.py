"""`Poller` where it spins; all else is tested by those who wait with it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

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
