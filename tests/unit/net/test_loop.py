"""How long the loop leaves an exchange alone that asked for it."""

from __future__ import annotations

import pytest

from krakenws.errors import ConnectionFailed, KrakenWSError, RequestRejected
from krakenws.net.loop import patience_s
from krakenws.net.rest import TryLater


@pytest.mark.parametrize(
    ("error", "wait_s"),
    [
        (ConnectionFailed("connection refused"), 0.0),
        (ConnectionFailed("HTTP 403", 403), 60.0),
        (ConnectionFailed("HTTP 429", 429), 5.0),
        (ConnectionFailed("HTTP 520", 520), 5.0),
        (ConnectionFailed("HTTP 404", 404), 0.0),
        (TryLater("EGeneral:Temporary lockout", 900.0), 900.0),
        (RequestRejected("EQuery:Unknown asset pair"), 5.0),
    ],
)
def test_a_refusal_is_followed_as_late_as_it_asks(error: KrakenWSError, wait_s: float) -> None:
    assert patience_s(error) == wait_s
