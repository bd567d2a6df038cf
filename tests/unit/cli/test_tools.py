"""Tools are found by their names."""

from __future__ import annotations

from importlib import import_module

import pytest

from krakenws.cli.parser import entries
from krakenws.cli.tools import TOOLS, Tool
from krakenws.core.catalog import canonical


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_each_tool_is_a_module_that_takes_the_words(tool: Tool) -> None:
    assert callable(import_module(f"krakenws.cli.{tool.name}").run)


def test_no_tool_has_the_name_of_a_channel_or_command() -> None:
    assert {canonical(tool.name) for tool in TOOLS} & {canonical(entry.name) for entry in entries()} == set()
