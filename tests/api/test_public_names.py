"""`import krakenws`: every public name is there, and none costs anything before it is used."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import krakenws
from krakenws.public import NAMES
from tests.support.command import DEADLINE_S, ROOT

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = "import sys; sys.path.insert(0, {src!r}); {statement}; print(*sys.modules)"


def loaded_by(statement: str, home: Path) -> set[str]:
    program = PROGRAM.format(src=str(ROOT / "src"), statement=statement)
    done = subprocess.run(
        [sys.executable, "-S", "-c", program],
        capture_output=True,
        text=True,
        cwd=home,
        check=True,
        timeout=DEADLINE_S,
    )
    return set(done.stdout.split())


def test_every_public_name_is_there_and_listed() -> None:
    for name in NAMES:
        assert getattr(krakenws, name) is not None
    assert set(NAMES) <= set(dir(krakenws))


def test_a_star_imports_every_public_name() -> None:
    names: dict[str, object] = {}
    exec("from krakenws import *", names)
    assert set(NAMES) <= set(names)


def test_type_checkers_see_the_names_that_there_are() -> None:
    """What the stub tells them and what is loaded on demand are the same names."""
    text = (ROOT / "src" / "krakenws" / "__init__.pyi").read_text()
    told = {line.split()[-1] for line in text.splitlines() if line.startswith("from krakenws")}
    assert told == set(NAMES) - {"__version__"}


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'krakenws' has no attribute 'kraken'"):
        krakenws.kraken  # type: ignore[attr-defined]  # noqa: B018


def test_importing_the_package_loads_nothing_else(home: Path) -> None:
    assert {name for name in loaded_by("import krakenws", home) if name.startswith("krakenws")} == {
        "krakenws"
    }


def test_an_error_or_the_options_load_neither_asyncio_nor_msgspec(home: Path) -> None:
    loaded = loaded_by("import krakenws; krakenws.OutcomeUnknown; krakenws.Options", home)
    assert loaded & {"asyncio", "msgspec", "typing", "logging", "websockets"} == set()
