"""The layers of the architecture, as the contracts in pyproject.toml state them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from importlinter.cli import lint_imports

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).parents[1]


def test_every_import_respects_the_layers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """import-linter searches the working directory first: in the root it would find krakenws.py."""
    monkeypatch.chdir(ROOT / "src")
    monkeypatch.syspath_prepend(ROOT / "src")
    broken = lint_imports(str(ROOT / "pyproject.toml"), no_cache=True, no_logo=True)
    assert not broken, capsys.readouterr().out
