"""A system without poll, fcntl and Unix sockets, as Windows is: what streams and asks works there."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.command import DEADLINE_S, ROOT
from tests.support.scripts import TICKER, pongs, streams
from tests.support.server import exchange

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.server import Script

_PROGRAM = """
import os, select, signal, sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name in {"fcntl", "termios", "pwd", "grp", "resource"}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Missing())
for name in ("fcntl", "termios", "pwd", "grp", "resource"):
    sys.modules.pop(name, None)
for module, names in (
    (select, ("poll", "epoll", "PIPE_BUF")),
    (signal, ("SIGHUP", "SIGALRM", "SIGCHLD", "SIGPIPE", "SIGUSR1", "setitimer", "pthread_sigmask")),
    (os, ("fork", "getuid", "geteuid", "set_blocking", "O_NONBLOCK", "fchmod", "killpg", "setsid")),
):
    for name in names:
        vars(module).pop(name, None)
"""
_IMPORTS = """
from importlib import import_module
from pkgutil import walk_packages
import krakenws
for module in walk_packages(krakenws.__path__, "krakenws."):
    if not module.name.endswith("__main__"):
        import_module(module.name)
"""
_RUNS = """
from krakenws.cli import main
sys.exit(main(sys.argv[1:]))
"""


def program(home: Path, source: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-W", "error", "-c", _PROGRAM + source, *words],
        env={"HOME": str(home), "PYTHONPATH": str(ROOT / "src")},
        cwd=home,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def test_every_module_can_be_imported(tmp_path: Path) -> None:
    done = program(tmp_path, _IMPORTS)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("line", "script"), [("ping", pongs), ("ticker XBT/USD --count 1", streams(TICKER))])
@pytest.mark.parametrize("output", ["raw", "json", "text"])
def test_commands_and_streams_run(tmp_path: Path, line: str, script: Script, output: str) -> None:
    with exchange(script) as server:
        done = program(tmp_path, _RUNS, *line.split(), "-o", output, *server.options)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_needs_poll_says_so(tmp_path: Path) -> None:
    done = program(tmp_path, _RUNS, "ticker", "XBT/USD", "--overflow", "drop", "-oraw")
    assert done.returncode == 2
    assert "--overflow drop needs poll" in done.stderr
