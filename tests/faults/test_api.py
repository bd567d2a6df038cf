"""The rows of the fault matrix that apply to the Python API: the same events in the same order."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.faults.players import API, FACADE
from tests.faults.scene import SyncScene

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.conftest import Certificates
    from tests.faults.row import Row
    from tests.faults.scene import Sandbox


@pytest.mark.parametrize("row", [*API.rows()])
def test_the_api_tells_what_the_command_line_tells(
    row: Row, tmp_path: Path, sandbox: Sandbox, certificates: Certificates
) -> None:
    API.play(row, tmp_path, sandbox, certificates)


@pytest.mark.parametrize("name", sorted(FACADE))
def test_the_facade_tells_what_the_command_line_tells(
    name: str, tmp_path: Path, sandbox: Sandbox, certificates: Certificates
) -> None:
    (row,) = [row for row in API.applicable() if row.name == name]
    replace(API, scene=SyncScene).play(row, tmp_path, sandbox, certificates)
