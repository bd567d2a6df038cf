"""Whatever was lost, and whatever REST knows when: streamed and filled trades are together all there were."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from krakenws.core.backfill import Filler
from krakenws.core.rows import Trade

BEGIN_S = 1_790_000_000

trades = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 0, 2, 500_000, 3_000_000]),  # 1 µs is what the stream may round
        st.sampled_from(["1.0", "2.00"]),
        st.sampled_from(["buy", "sell"]),
        st.integers(0, 9),
    ),
    min_size=1,
    max_size=40,
)


def stamp(micros: int, finer: str = "") -> str:
    from datetime import UTC, datetime

    seconds, fraction = divmod(micros, 1_000_000)
    begin = datetime.fromtimestamp(BEGIN_S + seconds, UTC).isoformat()[:19]
    return f"{begin}.{fraction:06}{finer}Z"


def made(steps: list[tuple[int, str, str, int]]) -> list[tuple[int, Trade, Trade]]:
    """Return trades in order: their moment, and how the stream and REST tell them."""
    found, at = [], 0
    for step, price, side, finer in steps:
        at += step
        rest = Trade(price, "1.00000000", side, "limit", stamp(at, str(finer)))
        found.append((at, Trade(price, "1.00000000", side, "limit", stamp(at)), rest))
    return found


polls = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 5), st.integers(0, 10)), max_size=4)


@given(
    steps=trades,
    cuts=st.tuples(st.integers(0, 40), st.integers(0, 40)),
    polls=polls,
    ahead=st.integers(0, 40),
)
@settings(max_examples=400, deadline=None)
def test_streamed_and_filled_trades_are_together_all_there_were(
    steps: list[tuple[int, str, str, int]],
    cuts: tuple[int, int],
    polls: list[tuple[int, int, int]],
    ahead: int,
) -> None:
    all_ = made(steps)
    lost_from, now = sorted(min(cut, len(all_)) for cut in cuts)
    filler = Filler()
    brought: list[Trade] = []
    filled: list[Trade] = []

    def stream(first: int, end: int) -> None:
        for _, trade, _ in all_[first:end]:
            filler.streamed([trade])
            brought.append(trade)

    def ask(known_to: int, *, last: bool = False) -> bool:
        since_ns = filler.since_ns - BEGIN_S * 10**9
        known = [trade for at, _, trade in all_[:known_to] if at * 1000 + 999 >= since_ns]
        missed, whole = filler.answered(known, last=last)
        filled.extend(missed)
        return whole

    stream(0, lost_from)
    filler.broken(BEGIN_S * 10**9 + (all_[lost_from - 1][0] if lost_from else -1) * 1000)
    whole = False
    for further, lag, then in polls:
        known_to = min(len(all_), now + further)  # it may know more than the stream brought, or less
        whole = whole or ask(max(0, known_to - lag))
        end = min(len(all_), max(now + then, known_to))  # the stream catches up before it is asked again
        stream(now, end)
        now = end
    if not whole:
        whole = ask(min(len(all_), now + ahead), last=True)
    stream(now, len(all_))
    for _ in range(2):
        whole = whole or ask(len(all_), last=True)
    assert whole
    assert not filler.pending

    def plain(trade: Trade) -> tuple[str, ...]:
        return trade.price, trade.side, trade.timestamp[:26]

    assert Counter(map(plain, brought + filled)) == Counter(plain(trade) for _, trade, _ in all_)


def test_a_second_break_makes_one_gap_of_both() -> None:
    filler = Filler()
    one, two, three, four = (t for _, t, _ in made([(1_000_000, "1.0", "buy", 0)] * 4))
    filler.streamed([one])
    filler.broken(0)
    filler.streamed([three])
    filler.broken(0)
    filler.streamed([four])
    assert filler.answered([one, two, three, four], last=True) == ([two], True)


def test_who_never_saw_a_trade_is_filled_from_when_the_stream_was_last_good() -> None:
    filler = Filler()
    (one,) = (t for _, t, _ in made([(1_000_000, "1.0", "buy", 0)]))
    filler.broken(BEGIN_S * 10**9)
    assert filler.since_ns == BEGIN_S * 10**9
    assert filler.answered([one]) == ([], False)
    assert filler.answered([one]) == ([one], False)
    assert filler.answered([one], last=True) == ([], True)
    assert not filler.pending


def test_what_the_last_answer_knows_first_is_asked_for_once_more() -> None:
    filler = Filler()
    one, two = (t for _, t, _ in made([(1_000_000, "1.0", "buy", 0)] * 2))
    filler.broken(BEGIN_S * 10**9)
    assert filler.answered([one]) == ([], False)
    assert filler.answered([one]) == ([one], False)
    assert filler.answered([one, two], last=True) == ([], False)
    assert filler.doubtful
    filler.streamed([two])
    assert filler.answered([one, two], last=True) == ([], True)
