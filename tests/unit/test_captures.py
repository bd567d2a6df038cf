"""Where tests look for captured frames: a slip in the variable must not skip them all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.captures import VARIABLE, captures_directory

if TYPE_CHECKING:
    from pathlib import Path


def test_a_directory_that_is_named_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert captures_directory() == tmp_path


def test_a_directory_that_is_named_and_missing_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "captrues"))
    with pytest.raises(NotADirectoryError, match="captrues"):
        captures_directory()
