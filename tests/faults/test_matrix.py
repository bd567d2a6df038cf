"""The fault matrix, row by row: what a user sees, how soon, and whether it is the truth."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults.judge import hold, times_of
from tests.faults.matrix import ROWS
from tests.faults.scene import stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.conftest import Certificates
    from tests.faults.row import Row
    from tests.faults.scene import Sandbox


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


def _keep(row: Row, noticed_s: float | None = None, back_s: float | None = None) -> None:
    """Keep what was measured for `tools/make_reliability.py`, when it asks for it."""
    directory = os.environ.get("KRAKENWS_MEASURED")
    if directory:
        times = {"noticed_s": noticed_s, "back_s": back_s}
        Path(directory, f"{row.name}.json").write_text(json.dumps(times))
