"""What the fuzz targets share: a command line, and atheris where it is installed."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def main(description: str | None, one: Callable[[bytes], None], run: Callable[[float, int], str]) -> None:
    """Fuzz for some seconds: guided by atheris, or else by the target's own mutations.

    Args:
        description: the target's docstring.
        one: tries one input; atheris makes them.
        run: tries inputs for so many seconds from a seed and says what it did.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    if find_spec("atheris"):
        atheris = import_module("atheris")  # optional: it is not made for every platform
        atheris.instrument_all()
        atheris.Setup([sys.argv[0], f"-max_total_time={given.seconds:.0f}"], one)
        atheris.Fuzz()
    print(run(given.seconds, given.seed))
