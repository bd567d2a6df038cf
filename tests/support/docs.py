"""The project's pages as tests see them: fenced blocks, the commands in them, links and headings.

A comment above a block says how it is meant: `<!-- refused -->` (a usage error, whose sentence is shown),
`<!-- exit code 5 -->`, `<!-- not run -->` (parsed, but it needs an account, a network or a second terminal).
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PAGES = sorted((*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")))
SHELLS = ("sh", "bash", "console")

_FENCE = re.compile(r"^```(\w*)$(.*?)^```$", re.MULTILINE | re.DOTALL)
_MARK = re.compile(r"<!-- (.+) -->\s*\Z")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_CODE = re.compile(r"`([^`\n]+)`")
_SEPARATORS = {"|", "||", "&", "&&", ";", "(", ")", ";;"}


class Block(NamedTuple):
    """A fenced block: its language, the mark above it, and its text."""

    page: Path
    language: str
    mark: str
    text: str

    @property
    def scripts(self) -> list[str]:
        """What a shell would run: each prompted line by itself, or a whole script."""
        if self.language == "console":
            return [line[2:] for line in self.text.splitlines() if line.startswith("$ ")]
        return [self.text]


def blocks(page: Path, *languages: str) -> Iterator[Block]:
    """Give the blocks of a page in these languages."""
    text = page.read_text(encoding="utf-8")
    for found in _FENCE.finditer(text):
        if found[1] in languages:
            mark = _MARK.search(text, 0, found.start())
            yield Block(page, found[1], mark[1] if mark else "", found[2].strip("\n"))


def prose(page: Path) -> str:
    """Return a page without its blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def inline_code(page: Path) -> list[str]:
    """Return what stands between backquotes in prose."""
    return [code.replace("\\|", "|") for code in _CODE.findall(prose(page))]


def links(page: Path) -> list[str]:
    """Return the targets of a page's links."""
    return _LINK.findall(prose(page))


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in _HEADING.findall(prose(page))
    }


def krakenws_lines(script: str) -> Iterator[list[str]]:
    """Give the words of each call of krakenws in a shell script, without the program's name."""
    for line in script.splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        command: list[str] = []
        for word in [*lexer, ";"]:
            if word not in _SEPARATORS:
                command.append(word)
                continue
            words = _words_of(command)
            if words is not None:
                yield words
            command = []


def _words_of(command: list[str]) -> list[str] | None:
    while command and re.match(r"\w+=", command[0]):
        command = command[1:]
    if command[:3] == ["python", "-m", "krakenws"]:
        command = command[2:]
    if not command or command[0] not in {"krakenws", "./krakenws.py"}:
        return None
    words = command[1:]
    redirect = next((at for at, word in enumerate(words) if word[0] in "<>"), len(words))
    return words[: redirect - (words[redirect - 1] == "2" and redirect < len(words))]
