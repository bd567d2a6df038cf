"""Every v1 data frame that the real exchange sent becomes rows, with the digits it sent."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.json import encode

from tests.updates import Updates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Capture = Callable[[str], list[tuple[str | None, str, str]]]

FILES = {
    "v1_book1000_four_pairs.jsonl": 1478,
    "v1_book10_xdgusd_republished.jsonl": 15,
    "v1_examples_from_docs.jsonl": 14,
    "v1_private_2022.jsonl": 8,
    "v1_private_2023.jsonl": 8,
    "v1_public_misc.jsonl": 14,
    "v1_ticker.jsonl": 18,
    "v1_trade.jsonl": 8,
}
"""Data frames in each file."""


def texts(value: Any) -> Iterator[str]:
    """Every text in a payload, but for dictionary keys."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from texts(item)


def is_decimal(text: str) -> bool:
    return text.replace(".", "", 1).isdigit()


def test_every_v1_capture_is_read_here(captures: Path) -> None:
    assert {path.name for path in captures.glob("v1_*.jsonl")} == set(FILES)


@pytest.mark.parametrize(("name", "count"), FILES.items())
def test_every_data_frame_yields_rows_whose_numbers_are_the_wires(
    read_capture: Capture, name: str, count: int
) -> None:
    make, frames = Updates(), 0
    for _, direction, frame in read_capture(name):
        if direction == "out" or not frame.startswith("["):
            continue
        frames += 1
        message = json.loads(frame)
        update = make(frame)
        rows = json.loads(encode(update.rows()))
        assert bool(rows) == (message[0] != []), frame
        sent = set(texts(message))
        shown = {text for text in texts(rows) if is_decimal(text)}
        assert shown <= sent, frame
        if update.route.entry.rows in {"Level", "Trade"}:  # nothing but a time may be missing
            assert {text for text in sent - shown if is_decimal(text)} <= times(message, update.body), frame
    assert frames == count


def times(message: list[Any], book: Any) -> set[str]:
    """The times of a trade or book frame, and its checksum, which becomes a number."""
    if book is None:
        return {trade[2] for trade in message[1]}
    return {level[2] for side in (book.asks, book.bids) for level in side} | {str(book.checksum)}
