"""The fuzz targets themselves, for a fixed number of inputs: they run, and find nothing."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest


def load(name: str) -> Any:
    """Load a target as the program it is: it is in no package."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_mutated_frames_raise_nothing() -> None:
    assert load("fuzz_frames").run(0.0, seed=7, limit=300) == 300


def test_mutated_words_bind_or_are_refused() -> None:
    done, fitted = load("fuzz_words").run(0.0, seed=7, limit=1500)
    assert done == 1500
    assert fitted > 100


def test_what_trades_is_sent_as_typed_or_not_at_all() -> None:
    done, sent = load("fuzz_trading").run(0.0, seed=7, limit=1500)
    assert done == 1500
    assert sent > 200


def test_a_defect_is_reported_with_its_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = load("fuzz_words")

    def fail(_: list[str]) -> bool:
        raise KeyError("defect")

    monkeypatch.setattr(target, "say", fail)
    with pytest.raises(KeyError):
        target.run(0.0, seed=7, limit=1)
    assert "seed 7, line 0: [" in capsys.readouterr().err
