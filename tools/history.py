"""Plays histories of trading under misfortune, and prints what of them must not be.

    python tools/history.py --schedules 5000 --seed 1 [--jobs 2]      in memory
    python tools/history.py --processes 200 --seed 1                  with real processes and real SIGKILL

A violation names the seed that repeats it: `--schedules 1 --seed SEED`. Exit code 1 when there are any.
"""

# ruff: noqa: INP001 - a script, which prints

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from traceback import format_exc
from typing import TYPE_CHECKING

sys.path.append(str(Path(__file__).parents[1]))  # last, for krakenws.py there bears the name of the package

from tests.history import real, schedule

if TYPE_CHECKING:
    from collections.abc import Iterable

_A_SANDBOX = 10
"""Histories with real processes that share a sandbox."""


def in_memory(seed: int) -> list[tuple[int, list[str]]]:
    """Return a seed and the violations of its history."""
    try:
        return [(seed, schedule.play(seed))]
    except Exception:  # noqa: BLE001 - whatever it is, its seed must be known
        return [(seed, [format_exc()])]


def with_processes(seeds: range) -> list[tuple[int, list[str]]]:
    """Return some seeds and the violations of their histories."""
    found = []
    try:
        with TemporaryDirectory() as directory:
            for seed, violations in real.play(Path(directory) / "home", seeds):
                found.append((seed, violations))
    except Exception:  # noqa: BLE001 - as above
        found.append((seeds[len(found)], [format_exc()]))
    return found


def main() -> int:
    """Play what the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--schedules", type=int, default=0, help="histories in memory")
    parser.add_argument("--processes", type=int, default=0, help="histories with real processes")
    parser.add_argument("--seed", type=int, default=1, help="of the first; the others follow")
    parser.add_argument("--jobs", type=int, default=2, help="how many at once")
    given = parser.parse_args()
    end = given.seed + given.processes
    groups = [range(at, min(at + _A_SANDBOX, end)) for at in range(given.seed, end, _A_SANDBOX)]
    with ProcessPoolExecutor(given.jobs) as pool:
        memory = pool.map(in_memory, range(given.seed, given.seed + given.schedules), chunksize=10)
        bad = _print("--schedules", memory, given.schedules)
        bad += _print("--processes", pool.map(with_processes, groups), given.processes)
    return 1 if bad else 0


def _print(option: str, histories: Iterable[list[tuple[int, list[str]]]], wanted: int) -> int:
    """Print violations as they come; return how many histories have any."""
    played = bad = 0
    for seed, found in chain.from_iterable(histories):
        played += 1
        bad += bool(found)
        for what in found:
            print(f"{option} 1 --seed {seed}: {what}", flush=True)
    if wanted:
        print(f"{option}: {played} histories, {bad} with violations", flush=True)
    return bad


if __name__ == "__main__":
    sys.exit(main())
