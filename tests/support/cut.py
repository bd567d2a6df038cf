"""The command in a process that is killed at a point around intent, send and answer."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.command import Command

_PROGRAM = """
import os, signal, sys
from krakenws.cli import entry
from krakenws.net import trading

point = sys.argv.pop(1)

def reached(at):
    if at == point:
        os.kill(os.getpid(), signal.SIGKILL)

trading.reached = reached
entry()
"""


def cut_at(command: Command, point: str) -> Command:
    """Return the same command, killed with SIGKILL where it reaches a point of `krakenws.net.trading`."""
    other = type(command)(command.home)
    other.environ = command.environ
    other.program = [sys.executable, "-P", "-c", _PROGRAM, point]
    return other
