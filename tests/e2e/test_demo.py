"""`make demo`, without make: the script a newcomer sees first."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command import ROOT, Command

DEADLINE_S = 60.0
KEY_LINES = (
    "public: ws://127.0.0.1:",
    "subscribed to ticker XDG/XBT",
    "XBT/USD  ✓  ",
    '"trust":"verified"',
    "subscribed to spread XBT/USD",
    "(cl_ord_id first, order O",
    "  open      buy 0.01000000 XBT/USD @ limit 70000.00000\n",
    "accepted: amendOrder (amend_id T",
    "  buy    0.01000000  XBT/USD at ",
    "  closed    buy 0.01000000 XBT/USD at ",
    "accepted: cancelAll (count 1)",
    "  canceled  sell 1.50000000 ETH/EUR",
    "krakenws: ticker DOG/CAT refused: Currency pair not supported DOG/CAT\n[exit code 5]",
    "krakenws: addOrder refused: EOrder:Insufficient funds\n[exit code 5]",
    "volume=0.00001 is below the least of XBT/USD: that is 0.00005 (or --no-check)\n[exit code 2]",
    "krakenws: there is no command tikcer; did you mean ticker?\n[exit code 2]",
    "pong in ",
    'Client -> WebSocket: {"event":"subscribe"',
    "received,type,symbol,price,qty,side,ord_type,timestamp,misc,trade_id,source\n2",
)
WIDTH_COLUMNS = 100


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_the_demo_shows_what_it_promises_and_leaves_nothing_behind(krakenws: Command, tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    beside_python = str(Path(sys.executable).parent)
    done = subprocess.run(  # noqa: PLW1510 - the exit code is looked at
        ["bash", str(ROOT / "examples" / "demo.sh")],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        env={
            **krakenws.environ,
            "PATH": beside_python + os.pathsep + krakenws.environ["PATH"],
            "TMPDIR": str(temporary),
        },
        cwd=tmp_path,
        timeout=DEADLINE_S,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [line for line in KEY_LINES if line not in done.stdout] == []
    assert list(temporary.iterdir()) == []
    told = [line for line in done.stdout.splitlines() if "{" not in line and str(temporary) not in line]
    assert [line for line in told if len(line) > WIDTH_COLUMNS and ",update," not in line] == []
