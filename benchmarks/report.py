"""The report: the table of targets, then every contest."""
# ruff: noqa: RUF001 - the report has typographic signs

from __future__ import annotations

import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.arena import HERE, OURS
from benchmarks.contest import Key
from benchmarks.targets import HEADROOM, TARGETS, shown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchmarks.contest import Contest
    from benchmarks.targets import Row
    from benchmarks.turns import Turns

_NAMES = {
    **{name: f"**krakenws -o {name}**" for name in OURS},
    "krakenws": "**krakenws**",
    "session": "**krakenws session**",
    "session --listen": "**krakenws session --listen**",
    "floor": "floor: cut frames, one write a read, no checks",
    "plain": "plain: websockets, json.loads, print",
    "original": "original's way: websocket-client, print",
    "original-blind": "the same, spared its check of UTF-8",
    "generator": "the generator, nobody looking",
    "cryptofeed": "cryptofeed, checksum validation",
    "socket": "a plain socket",
    "socket-blind": "a plain socket that neither masks nor reads",
    "relay": "a relay that looks at nothing",
}


def report(contests: Iterable[Contest], turns: Turns, rounds: int) -> str:
    """Return everything that was measured, in Markdown."""
    parts = ["# Results", _about(rounds), "## Targets", _target_table(TARGETS, turns)]
    if headroom := _target_table(HEADROOM, turns):
        parts += ["The load generator is not the limit:", headroom]
    parts += ["## Everything", *filter(None, (_contest_table(contest, turns) for contest in contests))]
    reasons = sorted({f"- {who} ({name}): {text}" for (name, who), text in turns.missing.items()})
    if reasons:
        parts += ["## Not measured", "\n".join(reasons)]
    return "\n\n".join(parts) + "\n"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _target_table(targets: list[Row], turns: Turns) -> str:
    rows = []
    for row in targets:
        if not turns.includes(row):
            continue
        if ratios := row.ratios(turns.values):
            found, met = shown(ratios), "yes" if row.is_met(ratios) else "**no**"
        else:
            found, met = f"– ({turns.reason(row)})", "–"
        rows.append([row.work, row.against, found, row.shown_target(), met])
    return _table(["work", "against", "ratio", "target", "met"], rows) if rows else ""


def _contest_table(contest: Contest, turns: Turns) -> str:
    """Return who took part: ratios of the first measure, then the medians of all."""
    values, first = turns.values, contest.columns[0].measure
    present = [who for who in contest.contestants if Key(contest.name, who, first) in values]
    references = [who for who in contest.references if who in present]
    rows = []
    for who in present:
        mine = values[Key(contest.name, who, first)]
        cells = [_NAMES.get(who, who)]
        for reference in references:
            theirs = values[Key(contest.name, reference, first)]
            cells.append(shown(sorted(a / b for a, b in zip(mine, theirs, strict=True))))
        for column in contest.columns:
            found = values.get(Key(contest.name, who, column.measure))
            cells.append(column.form.format(median(found)) if found else "–")
        rows.append(cells)
    head = [contest.name, *(f"× {who}" for who in references), *(column.head for column in contest.columns)]
    return _table(head, rows) if rows else ""


def _about(rounds: int) -> str:
    commit = _output_of("git", "rev-parse", "--short", "HEAD")
    changed = ", with changes" if _output_of("git", "status", "--porcelain", "src") else ""
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, commit {commit}{changed}, {_machine()}, {platform.system()}, "
        f"{platform.python_implementation()} {platform.python_version()}. Medians of {rounds} interleaved "
        "rounds (short work: several turns in each), their range in brackets. Written by `make bench`."
    )


def _output_of(*argv: str) -> str:
    try:
        done = subprocess.run(argv, cwd=HERE, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def _machine() -> str:
    try:
        found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="ascii"))
    except OSError:
        found = None
    return f"{os.cpu_count()} × {found[1] if found else platform.machine()}"
