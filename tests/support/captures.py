"""Where the captured frames of the real exchange are: read where they lie, never copied into the project."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

VARIABLE = "KRAKENWS_CAPTURES"


def captures_directory() -> Path:
    """Return the directory of captures; the test is skipped when nobody says where there are any.

    Raises:
        NotADirectoryError: `KRAKENWS_CAPTURES` names something else: a slip must not skip all those tests.
    """
    named = os.environ.get(VARIABLE)
    if named:
        if not Path(named).is_dir():
            raise NotADirectoryError(f"{VARIABLE} is no directory: {named}")
        return Path(named)
    directory = Path(__file__).parents[3] / "shared" / "captures"
    if not directory.is_dir():
        pytest.skip(f"no captured frames: set {VARIABLE} to their directory")
    return directory
