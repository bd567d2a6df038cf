"""Captured frames of the real exchange, which are read where they lie and never copied into the project."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support.captures import captures_directory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="session")
def captures() -> Path:
    """The directory of captures: `KRAKENWS_CAPTURES`, else `../shared/captures` beside the repository."""
    return captures_directory()


@pytest.fixture(scope="session")
def read_capture(captures: Path) -> Callable[[str], list[tuple[str | None, str, str]]]:
    """A function from the name of a capture to its (t, dir, frame), in file order.

    `t` is the time of arrival as text (epoch seconds) or None, `dir` is "in" or "out", `frame` is the text
    on the wire.
    """

    def read(name: str) -> list[tuple[str | None, str, str]]:
        lines = (captures / name).read_text(encoding="utf-8").splitlines()
        return [(line["t"], line["dir"], line["frame"]) for line in map(json.loads, lines)]

    return read
