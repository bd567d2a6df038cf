"""What tests of examples share: a compiler, and a `krakenws` that only says what is put into its mouth."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.support.command import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.command import Command

    Line = dict[str, object]

EXAMPLES = ROOT / "examples"
_COMPILER = next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))), None)
BUILD = f"'{_COMPILER}' -std=c++17 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror"
"""The beginning of a command that compiles."""

needs_jq = pytest.mark.skipif(shutil.which("jq") is None, reason="there is no jq")
needs_compiler = pytest.mark.skipif(_COMPILER is None, reason="there is no C++ compiler")
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node")

DIED = 9
"""The exit code of what `pretend` puts in the way."""
GAP: Line = {"event": "gap", "channel": "book", "symbol": "XBT/USD", "cause": 'said "checksum"', "to": None}


def best(bid: str, trust: str = "verified") -> Line:
    """Return a line of `--book top`, which is one of `spread` as well."""
    row = {"bid": bid, "ask": "99.00000", "bids": [{"price": bid}], "asks": [{"price": "99.00000"}]}
    return {"event": "update", "symbol": "XBT/USD", "trust": trust, "data": [row]}


def build(command: Command, name: str) -> None:
    """Compile an example into the working directory."""
    built = command.shell(f"{BUILD} -o {name} '{EXAMPLES / name}.cpp'")
    assert built.code == 0, built.err


def told(lines: Sequence[Line]) -> str:
    """Return events as krakenws writes them."""
    return "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)


def pretend(command: Command, before: list[Line], *after: Line) -> None:
    """Put a `krakenws` in the way: it tells `before`, and once an order came `after`; then it dies."""
    directory = command.home / "pretended"
    directory.mkdir()
    script = directory / "krakenws"
    acts = [f"printf %s {shlex.quote(told(before))}"]
    if after:
        acts.append("while read -r line; do case $line in *addOrder*) break ;; esac; done")
        acts.append(f"printf %s {shlex.quote(told(after))}")
    script.write_text("\n".join(["#!/bin/sh", *acts, f"exit {DIED}", ""]))
    script.chmod(0o700)
    command.environ["PATH"] = f"{directory}{os.pathsep}{command.environ['PATH']}"
