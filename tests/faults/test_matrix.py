"""The fault matrix, row by row: what a user sees, how soon, and whether it is the truth."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults.matrix import ROWS
from tests.faults.scene import run_sandbox, stage
from tests.faults.truth import at_ns, check_books, check_continuity, check_fills, check_trades

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.conftest import Certificates
    from tests.faults.row import Row
    from tests.faults.scene import Sandbox, Scene
    from tests.faults.truth import Event


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """One exchange for all rows of a worker: they are played one after the other, and leave it well."""
    with run_sandbox(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


def _rows() -> Iterator[object]:
    for row in ROWS:
        missing = pytest.mark.xfail(reason=f"waits for: {row.waits_for}") if row.waits_for else ()
        yield pytest.param(row, id=row.name, marks=missing)


@pytest.mark.parametrize("row", [*_rows()])
def test_fault(row: Row, tmp_path: Path, sandbox: Sandbox, certificates: Certificates) -> None:
    if row.memory is not None:
        row.memory()
        _keep(row)
        return
    with stage(tmp_path, sandbox, certificates) as scene:
        events = hold(row, scene)
    _keep(row, *times_of(row, scene, events))


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
        elif noticed is None and name not in {"connected", "error"}:
            noticed = (at_ns(events[at]["received"]) - scene.struck_ns) / 1e9
    if row.noticed_s is not None:
        assert noticed is not None
        assert noticed <= row.noticed_s
    if row.back_s is not None:
        assert back is not None
        assert back <= row.back_s
    return (noticed if row.noticed_s else None), (back if row.back_s else None)


def _keep(row: Row, noticed_s: float | None = None, back_s: float | None = None) -> None:
    """Keep what was measured for `tools/make_reliability.py`, when it asks for it."""
    directory = os.environ.get("KRAKENWS_MEASURED")
    if directory:
        times = {"noticed_s": noticed_s, "back_s": back_s}
        Path(directory, f"{row.name}.json").write_text(json.dumps(times))
