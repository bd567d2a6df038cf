"""The sandbox exchange that a client starts for itself."""

from __future__ import annotations

import pytest

import krakenws
from krakenws import playground


def test_a_sandbox_that_nobody_wants_any_more_when_it_starts_is_ended_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(playground, "_listening", lambda: "")
    wanted = playground.Playground("", lambda _: None)
    wanted.__exit__(None, None, None)  # the task that enters `connect(sandbox=True)` is cancelled
    with pytest.raises(krakenws.ConnectionFailed, match="did not start"):
        wanted.__enter__()
    process = wanted._process
    assert process is not None
    assert process.returncode is not None
