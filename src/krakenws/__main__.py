"""`python -m krakenws`: the same as the command `krakenws`."""

from __future__ import annotations

from krakenws.cli import entry

if __name__ == "__main__":
    entry()
