"""What the pages say is so: generated ones are fresh, commands parse, links lead somewhere."""

from __future__ import annotations

import re
import shlex
from importlib import import_module
from typing import TYPE_CHECKING

import pytest

from krakenws.cli.options import OPTIONS
from krakenws.cli.parser import entries, parse
from krakenws.core.catalog import bind
from krakenws.errors import EXIT_CODES, UsageError
from tests.support.docs import (
    PAGES,
    ROOT,
    SHELLS,
    anchors,
    blocks,
    inline_code,
    krakenws_lines,
    links,
    prose,
)

if TYPE_CHECKING:
    from pathlib import Path

FOREIGN = {"key", "unbuffered"}
"""Options that are none of ours: `--key value` stands for any parameter, jq has --unbuffered."""

each_page = pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])


def bind_all(words: list[str]) -> None:
    for feed in parse(words).feeds:
        if feed.entry is not None:
            bind(feed.entry, feed.words, lambda _: ["XBT/USD"])


def generated() -> dict[str, str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "tools"))
        pages: dict[str, str] = import_module("make_docs").pages()
    return pages


def test_the_reference_is_what_the_code_makes_of_it() -> None:
    there = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "reference").iterdir()}
    assert there == generated(), "run: python tools/make_docs.py"


def test_the_reference_shows_a_verified_book() -> None:
    assert '"trust":"verified"' in generated()["events.md"]


@each_page
def test_every_command_shown_parses(page: Path) -> None:
    for block in blocks(page, *SHELLS):
        for script in block.scripts:
            for words in krakenws_lines(script) if block.mark != "refused" else ():
                bind_all([re.sub(r"\$\w+", "1", word) for word in words])  # a variable is a number
    for code in inline_code(page):
        if code.startswith("krakenws ") and "…" not in code and "NAME" not in code:
            bind_all(shlex.split(code)[1:])


@each_page
def test_every_mistake_shown_is_refused_with_the_words_shown(page: Path) -> None:
    for block in blocks(page, "console"):
        for script in block.scripts if block.mark == "refused" else ():
            for words in krakenws_lines(script):
                with pytest.raises(UsageError) as refused:
                    bind_all(words)
                assert f"krakenws: {refused.value}" in block.text.splitlines()


def test_commands_are_found_in_what_surrounds_them() -> None:
    script = (
        "A=b krakenws ping -q 2>/dev/null && ./krakenws.py ping | krakenws decode - > x; echo krakenws no"
    )
    assert list(krakenws_lines(script)) == [["ping", "-q"], ["ping"], ["decode", "-"]]


@each_page
def test_every_option_named_exists(page: Path) -> None:
    known = {option.name for option in OPTIONS} | FOREIGN
    known |= {param.name for entry in entries() for param in entry.params}
    named = {name for code in inline_code(page) for name in re.findall(r"(?<![\w-])--([a-z][a-z-]*)", code)}
    assert named <= known


@each_page
def test_every_exit_code_named_exists(page: Path) -> None:
    named = {int(code) for code in re.findall(r"\b(?:exit|code|exit code) (\d+)\b", prose(page))}
    assert named <= {code for code, _ in EXIT_CODES}


def test_the_readme_has_a_table_of_the_exit_codes_in_use() -> None:
    shown = {int(code) for code in re.findall(r"^\| (\d+) \|", prose(ROOT / "README.md"), re.MULTILINE)}
    assert shown == {code for code, _ in EXIT_CODES}


@each_page
def test_every_link_inside_the_project_leads_somewhere(page: Path) -> None:
    for link in links(page):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link
