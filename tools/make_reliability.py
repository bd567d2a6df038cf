"""Makes `docs/reliability.md`: runs the fault matrix and prints every row with what was measured.

    python tools/make_reliability.py [--from DIRECTORY]

It takes about two minutes. `--from` takes the measurements of an earlier run, made with
`KRAKENWS_MEASURED=DIRECTORY pytest tests/faults/test_matrix.py`. `tests/faults/test_page.py` fails when the
page and the matrix are not the same rows.
"""

# ruff: noqa: E501, INP001, RUF001, S603 - a script that starts our own tests, and prose is prose

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

ROOT = Path(__file__).parents[1]
sys.path.append(
    str(ROOT)
)  # the rows are the tests'; last, for krakenws.py there bears the name of the package

from tests.faults.matrix import GROUPS  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.faults.row import Row

    Times = Mapping[str, tuple[str, str]]

PAGE = ROOT / "docs" / "reliability.md"
HEAD = """\
<!-- Made by tools/make_reliability.py from the run of tests/faults/test_matrix.py: change a row there. -->

# Reliability

What goes wrong, what you see of it, and how soon. Each row is a test: the fault is played to the installed command, between it
and [the sandbox exchange](sandbox.md), by a proxy that does what networks do (`tests/faults/proxy.py`) or by
[the exchange itself](sandbox.md#faults). Then all it printed is judged:

- the exit code, the sentence on stderr, and the JSON events on stdout, in order;
- a `gap` with both its ends stands before the next data of whatever was broken;
- every book line called `verified` has the checksum it was sent with, worked out once more from the printed levels alone;
- against the exchange's own account of what happened: trades are all there, in order and none twice, but at a published gap;
  no fill of your own is told twice as live; the exchange took as many orders as it should have.

[A session](session.md) and [the Python API](python.md) tell the same events in the same order: all rows that apply to them are played
to them, too. `tests/faults/players.py` says which do not, and why.

**Told after**: from the fault until the event that tells it. **Data again after**: from the end of the fault until the first new
data. Measured, not promised, on a machine of two cores that had other work; the test's limits are wider. Where nothing is to be
told, or nothing to come back, there is a dash. Rows *in memory* last too long to be waited for: client and exchange talk
without sockets, and the clock is set. What is never sent twice, and how it is looked for, is in [orders](orders.md); what a gap
means, in [the explanation](explanation.md#healing).
"""
NONE = "–"
NOT_YET = """
## Not there yet

These rows are written down as they have to be, and fail until the feature is there.

| what goes wrong | what you will see | waits for |
| --- | --- | --- |
"""
TAIL = """
## What cannot be noticed

API v1 numbers neither trades nor tickers, spreads or candles, and signs none of them: were the exchange to leave one out, or send
one twice, no client could tell. TLS keeps everything between from doing so. Levels of a book beyond the tenth are outside its
checksum.
"""


def page(times: Times) -> str:
    """Return the page, with the two measured cells of each row by its name."""
    parts = [HEAD]
    for group in GROUPS:
        rows = [row for row in group.rows if not row.waits_for]
        parts.append(
            f"\n## {group.name}\n\n"
            "| what goes wrong | what you see | exit | told after | data again after |\n"
            "| --- | --- | --- | --- | --- |\n"
        )
        parts += [_line(row, times.get(row.name, (NONE, NONE))) for row in rows]
    if waiting := [row for row in _rows() if row.waits_for]:
        parts.append(NOT_YET)
        parts += [f"| {row.fault} | {row.sees} | {row.waits_for} |\n" for row in waiting]
    parts.append(TAIL)
    return "".join(parts)


def _rows() -> Iterator[Row]:
    for group in GROUPS:
        yield from group.rows


def _line(row: Row, times: tuple[str, str]) -> str:
    exit_code = NONE if row.code is None else str(row.code)
    cells = [row.fault, row.sees, exit_code, *(times if row.play else ("in memory", "in memory"))]
    return f"| {' | '.join(cells)} |\n"


def times_in(text: str) -> dict[str, tuple[str, str]]:
    """Return the measured cells of a page, by the name of the row whose fault it tells."""
    cells = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {
        row.name: (found[3], found[4])
        for row in _rows()
        for found in cells
        if row.play and found[0] == row.fault and len(found) == 5
    }


def measured_in(directory: Path) -> dict[str, tuple[str, str]]:
    """Return what a run of the matrix has measured, as the page shows it."""
    times = {}
    for path in directory.glob("*.json"):
        seconds = json.loads(path.read_text(encoding="ascii"))
        times[path.stem] = _shown(seconds["noticed_s"]), _shown(seconds["back_s"])
    return times


def _shown(seconds: float | None) -> str:
    if seconds is None:
        return NONE
    return "< 0.1 s" if seconds < 0.1 else f"{seconds:.1f} s"


def main() -> int:
    """Run the matrix, unless an earlier run is given, and write the page."""
    if sys.argv[1:2] == ["--from"]:
        PAGE.write_text(page(measured_in(Path(sys.argv[2]))), encoding="utf-8")
        return 0
    with TemporaryDirectory() as directory:
        pytest = [sys.executable, "-m", "pytest", "-q", "-n", "2", "tests/faults/test_matrix.py"]
        code = subprocess.run(
            pytest, cwd=ROOT, env={**os.environ, "KRAKENWS_MEASURED": directory}, check=False
        ).returncode
        if code == 0:
            PAGE.write_text(page(measured_in(Path(directory))), encoding="utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main())
