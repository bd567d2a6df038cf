"""The rows of the fault matrix that apply to a session: the same events in the same order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.players import SESSION

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.conftest import Certificates
    from tests.faults.row import Row
    from tests.faults.scene import Sandbox


@pytest.mark.parametrize("row", [*SESSION.rows()])
def test_a_session_tells_what_the_command_line_tells(
    row: Row, tmp_path: Path, sandbox: Sandbox, certificates: Certificates
) -> None:
    SESSION.play(row, tmp_path, sandbox, certificates)
