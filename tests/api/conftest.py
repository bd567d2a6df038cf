"""What tests of the Python API share: a home of their own, where nothing of the user's is read or counted."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.e2e.conftest import certificates  # noqa: F401 - a fixture
from tests.support.command import Command

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home and working directory for the API in this process; a token in `WS_Token`."""
    for name in [name for name in os.environ if name.startswith(("KRAKEN", "XDG_"))]:
        monkeypatch.delenv(name)
    for name, value in Command(tmp_path).environ.items():
        if name.startswith(("HOME", "XDG_")):
            monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    Command(tmp_path).store_token("a-token-for-a-test")
    return tmp_path


@pytest.fixture
def command(home: Path) -> Command:
    """The installed command, in the same home."""
    return Command(home)
