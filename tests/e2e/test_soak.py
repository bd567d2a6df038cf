"""A short soak: every pair at every depth, and all is verified. tools/soak.py is the long one."""

from __future__ import annotations

from importlib import util
from pathlib import Path
from typing import Any


def soak_tool() -> Any:
    path = Path(__file__).parents[2] / "tools" / "soak.py"
    spec = util.spec_from_file_location("soak", path)
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_twenty_thousand_updates_of_all_pairs_and_depths_are_verified_without_a_gap() -> None:
    done = soak_tool().soak(
        20_000, rate=150, depths=(10, 25, 100, 500, 1000), limit_s=20.0, every_s=1.0, show=False
    )
    assert done.trouble == ""
    assert done.updates >= 20_000
