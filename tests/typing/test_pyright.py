"""Pyright sees the public API as mypy does. (mypy looks at it in `make lint`, like at everything else.)"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.command import ROOT

if TYPE_CHECKING:
    from pathlib import Path

CHECKER = next(filter(None, map(shutil.which, ("pyright", "basedpyright"))), "")


@pytest.mark.skipif(not CHECKER, reason="neither pyright nor basedpyright is installed")
def test_pyright_agrees_with_mypy(tmp_path: Path) -> None:
    """In strict mode; its `type: ignore` comments are those that mypy needs, no more and no less."""
    settings = {
        "include": [str(ROOT / "tests" / "typing" / "public_api.py")],
        "extraPaths": [str(ROOT / "src")],
        "typeCheckingMode": "strict",
        "enableTypeIgnoreComments": True,
        "reportUnnecessaryTypeIgnoreComment": "error",
        "reportUnusedExpression": "none",
        "reportUnusedCoroutine": "none",
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    done = subprocess.run(
        [CHECKER, "--project", str(tmp_path), "--pythonpath", sys.executable],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout
