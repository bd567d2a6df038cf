"""Help as wide as the terminal it is read on."""

from __future__ import annotations

import pytest

from krakenws.cli import help as texts
from krakenws.cli.parser import entries
from krakenws.cli.tools import TOOLS


@pytest.mark.parametrize(("columns", "widest"), [(60, 60), (80, 80), (100, 100), (200, 100)])
def test_help_fits_the_terminal_but_for_what_is_to_be_copied(
    monkeypatch: pytest.MonkeyPatch, columns: int, widest: int
) -> None:
    monkeypatch.setattr(texts, "columns_of", lambda _: columns)
    pages = [texts.overview("krakenws"), *(texts.of_entry("krakenws", entry) for entry in entries())]
    pages += [texts.of_tool("krakenws", tool) for tool in TOOLS]
    lines = [line for page in pages for line in page.splitlines() if not line.startswith("  krakenws ")]
    told = [line for line in lines if "Source: https://" not in line]
    assert widest - 10 < max(map(len, told)) <= widest


def test_the_meanings_of_exit_codes_stand_under_each_other() -> None:
    codes = texts.overview("krakenws").partition("Exit codes:\n")[2].partition("\n\n")[0].splitlines()
    assert {line[:7].strip().isdigit() or not line[:7].strip() for line in codes} == {True}
