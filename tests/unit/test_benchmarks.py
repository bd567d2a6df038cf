"""The benchmarks measure what they say: their frames are what Kraken sends, and the command line stands."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import environments, run
from benchmarks.contest import Column, Contest, FailedError, Key
from benchmarks.environments import AbsentError, Environments
from benchmarks.frames import PAIR, stamped_trade, stream
from benchmarks.report import report
from benchmarks.rivals import masked
from benchmarks.run import QUICK, contests
from benchmarks.server import Flood, frame
from benchmarks.targets import HEADROOM, TARGETS, Row
from benchmarks.turns import Turns
from krakenws.core.book import Book
from krakenws.core.v1 import V1
from krakenws.core.websocket import WebSocket

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("channel", ["ticker", "trade", "book-10", "book-1000"])
def test_every_frame_is_data_of_its_channel(channel: str) -> None:
    source = stream(channel)
    for payload in (source.first, *source.cycle):
        assert json.loads(payload)[-2:] == [channel, PAIR]
        assert V1.tail(payload) == V1.tail_of(channel, PAIR)


@pytest.mark.parametrize("depth", [10, 1000])
def test_each_checksum_of_a_book_is_right_also_when_its_cycle_is_repeated(depth: int) -> None:
    source = stream(f"book-{depth}")
    book, snapshot = Book(PAIR, depth), V1.book(source.first)
    book.snapshot(snapshot.asks, snapshot.bids)
    for payload in source.cycle * 2:
        changes = V1.book(payload)
        book.update(changes.asks, changes.bids)
        assert book.checksum() == changes.checksum
        assert not book.disproof(None)
        assert not book.stray_deletes


def test_a_stream_is_the_same_each_time() -> None:
    assert stream("book-10").cycle == stream("book-10").cycle
    assert stream("ticker").cycle == stream("ticker").cycle


def test_a_flood_sends_exactly_as_many_frames_as_asked_for() -> None:
    source = stream("trade")
    wire = b"".join(Flood(source).writes(len(source.cycle) + 3))
    assert WebSocket(lambda: b"mask", 1 << 20).receive(wire) == source.cycle + source.cycle[:3]


def test_a_flood_gives_its_frames_one_by_one_as_well() -> None:
    source = stream("trade")
    frames = [bytes(one) for one in Flood(source).frames(len(source.cycle) + 1)]
    assert frames == [frame(payload) for payload in (*source.cycle, source.cycle[0])]


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_frames_of_any_size_are_read_back(size: int) -> None:
    payload = b"x" * size
    assert WebSocket(lambda: b"mask", 1 << 20).receive(frame(payload)) == [payload]


def test_a_stamped_trade_carries_the_moment_it_left() -> None:
    assert int(json.loads(stamped_trade(1234))[1][0][2]) == 1234


def test_a_rival_masks_what_it_sends() -> None:
    assert masked(b"hi") == b"\x81\x82\x00\x00\x00\x00hi"


def test_every_target_is_measured_by_a_contest() -> None:
    arena: Any = None  # it is first needed when contestants are started
    measured = {
        Key(contest.name, who, column.measure)
        for contest in contests(arena, QUICK)
        for who in contest.contestants
        for column in contest.columns
    }
    assert [row for row in (*TARGETS, *HEADROOM) if not {row.ours, row.rivals} <= measured] == []


def row(measure: str, target: float, *, work: str = "work") -> Row:
    return Row(work, "rival", Key("race", "us", measure), Key("race", "them", measure), target, short=True)


@pytest.mark.parametrize(
    ("measure", "ratio", "met", "far_off"),
    [
        ("rate", 2.0, True, False),
        ("rate", 1.9, False, False),
        ("rate", 0.9, False, True),
        ("ms", 2.0, True, False),
        ("ms", 2.1, False, False),
        ("ms", 4.1, False, True),
    ],
)
def test_a_target_is_met_or_missed_or_far_off(measure: str, ratio: float, met: bool, far_off: bool) -> None:
    one = row(measure, 2)
    ratios = one.ratios({one.ours: [ratio * 2, ratio * 4, ratio * 8], one.rivals: [2.0, 4.0, 8.0]})
    assert ratios == [ratio] * 3
    assert (one.is_met(ratios), one.is_far_off(ratios)) == (met, far_off)


def test_one_good_turn_shows_that_a_busy_machine_was_measured() -> None:
    assert row("rate", 2).is_far_off([0.1, 0.2, 0.9])
    assert not row("rate", 2).is_far_off([0.1, 0.2, 1.1])
    assert not row("ms", 2).is_far_off([3.9, 8, 9])


def test_a_promise_of_messages_a_second_is_one_of_processor_time_a_message() -> None:
    one = row("rate", 0.5).by_processor()
    assert (one.ours.measure, one.rivals.measure, one.target) == ("cpu", "cpu", 2)
    assert one.is_met([2.0])
    assert one.is_far_off([4.1])
    assert row("ms", 3).by_processor() == row("ms", 3)


class Race(Contest):
    """Everyone returns the same, but for those who cannot or break down."""

    name = "race"
    contestants = ("us", "them", "absent", "broken")
    columns = (Column("ms", "ms", "{:.0f}"),)
    references = ("them",)

    def __init__(self, pace: dict[str, float]) -> None:
        self._pace = pace

    def prepare(self, who: str) -> None:
        if who == "absent":
            raise AbsentError("it is not\ninstalled")

    def measure(self, who: str) -> dict[str, float]:
        if who == "broken":
            raise FailedError("exit 1")
        return {"ms": self._pace[who]}


def test_who_cannot_take_part_or_breaks_down_is_left_out_with_the_reason() -> None:
    race = Race({"us": 1, "them": 2})
    turns = Turns([race])
    turns.run(3)
    assert turns.values == {Key("race", "us", "ms"): [1] * 3, Key("race", "them", "ms"): [2] * 3}
    assert turns.missing == {("race", "absent"): "it is not installed", ("race", "broken"): "failed: exit 1"}
    assert turns.failed == {("race", "broken")}
    text = report([race], turns, 3)
    assert "| us | 0.50 (0.50" in text
    assert "- absent (race): it is not installed" in text


def test_only_those_take_part_whom_a_row_names() -> None:
    turns = Turns([Race({"us": 1, "them": 2})], [row("ms", 1)])
    turns.run(1)
    assert turns.missing == {}
    assert {key.who for key in turns.values} == {"us", "them"}


def test_the_short_form_looks_again_before_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    paces = [{"us": 9.0, "them": 1.0}, {"us": 1.0, "them": 1.0}]
    monkeypatch.setattr(run, "TARGETS", [row("ms", 1), row("ms", 10, work="easy")])
    looked_at: list[list[str]] = []

    def measure(rows: list[Row], *_: object) -> Turns:
        looked_at.append([one.work for one in rows])
        turns = Turns([Race(paces.pop(0))], rows)
        turns.run(1)
        return turns

    monkeypatch.setattr(run, "measure", lambda *given: ([], measure(*given)))
    assert run.check()
    assert looked_at == [["work", "easy"], ["work"]]
    paces[:] = [{"us": 9.0, "them": 1.0}] * run.CHECKS
    assert not run.check()


def test_an_environment_that_is_left_out_is_absent() -> None:
    with pytest.raises(AbsentError, match="cryptofeed is left out"):
        Environments(enabled=False).program("cryptofeed")


def test_an_environment_that_cannot_be_made_is_absent_and_not_tried_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tried: list[list[str]] = []

    def fail(argv: list[str], **_: object) -> None:
        tried.append(argv)
        raise subprocess.CalledProcessError(1, argv, stderr="hints\nno index\n")

    monkeypatch.setattr(environments, "_FOLDER", tmp_path)
    monkeypatch.setattr(subprocess, "run", fail)
    mine = Environments()
    for _ in range(2):
        with pytest.raises(AbsentError, match="websocat cannot be installed: no index"):
            mine.program("websocat", "websocat")
    assert len(tried) == 1


def test_the_benchmark_says_what_it_takes() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "run.py"), "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )
    assert "--check" in done.stdout
