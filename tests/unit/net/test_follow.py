"""What `--follow` tells of one order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from krakenws.core.catalog import find
from krakenws.core.events import Disconnected, Reply, Route, Subscribed, Update
from krakenws.core.v1_entries import ENTRIES
from krakenws.errors import ConnectionFailed, OutcomeUnknown, RequestRejected
from krakenws.net.follow import Follow
from krakenws.net.stop import Stop

if TYPE_CHECKING:
    from krakenws.core.inquiry import Question

ORDER = "OAAAAA-AAAAA-AAAAAA"


def fills(*names: str, snapshot: bool = False) -> Update:
    entry = find(ENTRIES, "ownTrades")
    assert entry is not None
    body: list[dict[str, Any]] = [{name: {"ordertxid": ORDER, "vol": "0.1"}} for name in names]
    return Update(Route(entry, {}, "ownTrades", ""), b"", 0, snapshot, None, body)


def test_a_fill_is_told_once_although_the_snapshot_after_a_lost_connection_repeats_it() -> None:
    follow = Follow()
    told = follow.heed([Reply(0, "addOrder", 1, {"order_id": ORDER}), fills("T1")])
    told += follow.heed([Disconnected(0, "private", "cut", 0.0), fills("T2", "T1", snapshot=True)])
    bodies = [update.body for update in told if isinstance(update, Update)]
    assert [name for body in bodies for part in body for name in part] == ["T1", "T2"]


def lost() -> Follow:
    """An order that ended while the connection was down."""
    follow = Follow()
    follow.heed([Subscribed(0, name, "", {}) for name in ("openOrders", "ownTrades")])
    follow.heed([Reply(0, "addOrder", 1, {"order_id": ORDER}), Disconnected(0, "private", "cut", 0.0)])
    for name in ("openOrders", "ownTrades"):
        entry = find(ENTRIES, name)
        assert entry is not None
        follow.heed([Update(Route(entry, {}, name, ""), b"", 0, True, None, [])])
    assert follow.ended_unseen
    return follow


@pytest.mark.parametrize("status", ["closed", "canceled", "expired"])
def test_rest_is_asked_until_it_knows_how_an_order_ended(status: str) -> None:
    answers: list[Any] = [
        ConnectionFailed("no way"),
        {ORDER: {"status": "open"}},
        {ORDER: {"status": status}},
    ]
    asked: list[Question] = []
    said: list[str] = []

    def ask(question: Question) -> object:
        asked.append(question)
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    follow = lost()
    with Stop() as stop:
        follow.look_back(ask, (0.0, 0.01, 0.02, 60.0), stop, said.append)
    assert {question.fields for question in asked} == {(("txid", ORDER),)}
    assert said == [
        f"{ORDER}: how it ended: look 1 of 4: no way",
        f"{ORDER}: how it ended: look 2 of 4: not in REST",
        f"{ORDER}: {status} (found: REST QueryOrders)",
    ]
    if status == "closed":
        follow.judge()
    else:
        with pytest.raises(RequestRejected, match=status):
            follow.judge()


def test_a_signal_ends_the_looking_back() -> None:
    follow = lost()
    with Stop() as stop:
        stop.set = True
        follow.look_back(lambda _: pytest.fail("nobody is to be asked"), (60.0,), stop, pytest.fail)
    with pytest.raises(OutcomeUnknown, match="ended while nobody listened"):
        follow.judge()
