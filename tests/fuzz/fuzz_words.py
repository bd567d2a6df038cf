"""Fuzz target: any words bind or are refused in one printable sentence, and what binds encodes exactly.

    python tests/fuzz/fuzz_words.py --seconds 60 [--seed 1]

With atheris installed it is coverage-guided; without, words are mutated from the examples of the catalog.
"""

from __future__ import annotations

import json
import random
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[2] / "src"), str(Path(__file__).parents[2])]

from krakenws.core import v1_entries, v2_entries
from krakenws.core.catalog import CHANNEL, bind, find
from krakenws.core.v1 import V1
from krakenws.core.v2 import V2
from krakenws.errors import UsageError
from tests.fuzz.program import main

ENTRIES = (*v1_entries.ENTRIES, *v2_entries.ENTRIES)
PIECES = [
    *("=", ",", "/", "*", "-", "+", "%", "#", ".", " ", "\x00", "\x1b[31m", "\n", '"', "\\", "'", "\u202e"),
    *(
        "\ud800",
        "e9",
        "NaN",
        "XBT/USD",
        "9" * 30,
        "close[price]=",
        "txid=",
        "ß",
        "\u0661",
        "true",
        "limit",
        "",
    ),
]


def mutated(choose: random.Random) -> list[str]:
    """Return an example of the catalog, as words, with a few of them changed."""
    entry = choose.choice(ENTRIES)
    words = choose.choice(entry.examples).partition(" --")[0].split(" ")
    words += [
        f"{param.name}={param.example}" for param in entry.params if param.example and choose.random() < 0.3
    ]
    for _ in range(choose.randrange(4)):
        index = choose.randrange(len(words))
        word = words[index]
        at = choose.randrange(len(word) + 1)
        words[index] = word[:at] + choose.choice(PIECES) + word[at + choose.randrange(3) :]
        if choose.random() < 0.2:
            words.insert(choose.randrange(len(words)) + 1, choose.choice(words))
    return words


def say(words: list[str]) -> bool:
    """Bind words and encode them; return whether they fitted."""
    name, *rest = words
    entry = find(ENTRIES, name)
    if entry is None:
        return False
    try:
        bound = bind(entry, rest, expand=lambda _: ["XBT/USD"])
    except UsageError as error:
        if not str(error).isprintable() or str(error).endswith("."):
            raise AssertionError(f"not one printable sentence: {error!r}") from None
        return False
    dialect = V1 if entry.api == 1 else V2
    frame = (
        dialect.subscribe(entry, bound.values, bound.symbols, "")
        if entry.kind == CHANNEL
        else dialect.command(entry, bound.values, "", None)
    )
    message = json.loads(frame)
    sent = {**message, **(message.get("subscription") or message.get("params") or {})}
    if not frame.isascii() or any(sent[key] != value for key, value in bound.values.items()):
        raise AssertionError(f"{words!r} went out as {frame!r}")
    return True


def run(seconds: float, seed: int, limit: int | None = None) -> tuple[int, int]:
    """Fuzz for a time, or for `limit` lines; return how many there were and how many of them fitted."""
    choose = random.Random(seed)
    until = time.monotonic() + seconds
    done = fitted = 0
    while done != limit and (limit is not None or time.monotonic() < until):
        words = mutated(choose)
        try:
            fitted += say(words)
        except BaseException:
            sys.stderr.write(f"seed {seed}, line {done}: {words!r}\n")
            raise
        done += 1
    return done, fitted


def _guided(data: bytes) -> None:
    say(data.decode("utf-8", "surrogateescape").split("\t"))


def _said(seconds: float, seed: int) -> str:
    done, fitted = run(seconds, seed)
    return f"{done} lines, {fitted} of them fitted, nothing raised"


if __name__ == "__main__":
    main(__doc__, _guided, _said)
