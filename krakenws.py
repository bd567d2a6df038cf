#!/usr/bin/env python3
"""The drop-in for the original script: its words, its transcript, its exit codes 0 and 1.

Runs from a clone without installation; beside no clone, it runs the installed krakenws. A program in this
directory that imports krakenws finds this file first, and is given the package.
"""

import os
import sys

if sys.version_info < (3, 11):  # noqa: UP036 - a clone can be run by any Python, and pip is not there to refuse
    sys.exit("krakenws.py needs Python 3.11 or later")

SRC = os.path.join(os.path.dirname(os.path.realpath(__file__)), "src")

if __name__ == "__main__":
    if not sys.flags.safe_path:
        del sys.path[0]  # this file bears the package's name and would be imported in its place
    sys.path.insert(0, SRC)
    try:
        from krakenws.cli import entry_drop_in

        entry_drop_in()
    except ModuleNotFoundError as error:
        sys.exit(
            f"krakenws.py: the Python module {error.name} is missing; run this in the directory of krakenws: "
            f"{sys.executable} -m pip install -r requirements/run.txt"
        )
else:
    from importlib import import_module

    places = sys.path
    sys.path = [SRC, *(place for place in places if not os.path.exists(os.path.join(place, "krakenws.py")))]
    del sys.modules[__name__]  # what stands there when this file ends is what is imported
    try:
        import_module(__name__)
    finally:
        sys.path = places
