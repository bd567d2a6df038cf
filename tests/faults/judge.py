"""Plays a row of the fault matrix, and holds what was told to what it must be."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.faults.truth import at_ns, check_books, check_continuity, check_fills, check_trades

if TYPE_CHECKING:
    from tests.faults.row import Row
    from tests.faults.scene import Scene
    from tests.faults.truth import Event


def hold(row: Row, scene: Scene) -> list[Event]:
    """Play a row, and hold what was told to the exchange's account; return it."""
    assert row.play is not None
    row.play(scene)
    result = scene.result
    assert result is not None
    truth, fills = scene.truth, scene.fills
    assert result.code == row.code, result.err
    assert "Traceback" not in result.err
    assert all(line.startswith("krakenws: ") for line in result.err.splitlines()), result.err
    if row.says:
        assert re.search(row.says, scene.words), scene.words
    else:
        assert result.err == ""
    events = result.events if scene.is_json else []
    check_continuity(events)
    assert check_books(events) >= row.books
    check_trades(events, truth)
    assert check_fills(events, scene.sandbox.settled()) >= (fills if row.all_fills else set())
    return events


def times_of(row: Row, scene: Scene, events: list[Event]) -> tuple[float | None, float | None]:
    """Return the seconds until the fault was told and until data came again, within the row's limits."""
    noticed = back = None
    at = 0
    for name in row.tells:
        while at < len(events) and (
            events[at]["event"] != name or at_ns(events[at].get("received", "9999-01-01")) < scene.struck_ns
        ):
            at += 1
        assert at < len(events), f"no {name} was told: {[event['event'] for event in events][-20:]}"
        if name == "update":
            back = max(0, at_ns(events[at]["received"]) - scene.mended_ns) / 1e9
        elif noticed is None and name != "connected" and "received" in events[at]:
            noticed = (at_ns(events[at]["received"]) - scene.struck_ns) / 1e9
    if row.noticed_s is not None:
        assert noticed is not None
        assert noticed <= row.noticed_s
    if row.back_s is not None:
        assert back is not None
        assert back <= row.back_s
    return (noticed if row.noticed_s else None), (back if row.back_s else None)
