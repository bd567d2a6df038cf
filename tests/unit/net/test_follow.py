"""What `--follow` tells of one order."""

from __future__ import annotations

from typing import Any

from krakenws.core.catalog import find
from krakenws.core.events import Disconnected, Reply, Route, Update
from krakenws.core.v1_entries import ENTRIES
from krakenws.net.follow import Follow

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
