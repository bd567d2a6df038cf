"""Any words are a condition or refused in one sentence; its value is that of a naive evaluator."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from krakenws.core.condition import (
    COMPARISONS,
    QUANTITIES,
    All,
    Comparison,
    Condition,
    Number,
    Quantity,
    holds,
    parse,
)
from krakenws.core.condition import Any as OneOf
from krakenws.errors import UsageError

SYMBOLS = ("XBT/USD", "ETH/USD")
words = st.sampled_from(
    (*SYMBOLS, *QUANTITIES, *COMPARISONS, "(", ")", "and", "or", "for", "3s", "65000", "0.1", "btc/usd", "=")
)
texts = st.text(max_size=40) | st.lists(words | st.text(max_size=4), max_size=14).map(" ".join)

numbers = st.decimals(0, 4, places=1, allow_nan=False).map(lambda number: Number(f"{number:f}"))
quantities = st.builds(Quantity, st.sampled_from(SYMBOLS), st.sampled_from(QUANTITIES))
comparisons = st.builds(Comparison, quantities, st.sampled_from(COMPARISONS), quantities | numbers)
parts = st.recursive(
    comparisons,
    lambda inner: st.builds(
        lambda kind, some: kind(tuple(some)),
        st.sampled_from((All, OneOf)),
        st.lists(inner, min_size=2, max_size=3),
    ),
    max_leaves=8,
)
known = st.dictionaries(
    quantities, st.decimals(0, 4, places=1, allow_nan=False).map(lambda number: Decimal(f"{number:f}"))
)


@given(text=texts)
@settings(max_examples=500, deadline=None)
def test_any_text_is_a_condition_or_refused_in_one_sentence(text: str) -> None:
    try:
        condition = parse(text)
    except UsageError as error:
        said = str(error)
        assert said
        assert not said.endswith(".")
        assert said.isprintable()
    else:
        assert parse(str(condition)) == condition


@given(root=parts, held=st.sampled_from([("", 0.0), ("3s", 3.0)]))
@settings(deadline=None)
def test_what_is_written_is_read_again_and_means_the_same(root: Any, held: tuple[str, float]) -> None:
    again = parse(str(Condition(root, *held)))
    assert (again.held, again.hold_s) == held
    assert str(again.root) == str(root)


@given(root=parts, values=known)
@settings(max_examples=300, deadline=None)
def test_its_value_is_that_of_a_naive_evaluator(root: Any, values: dict[Quantity, Decimal]) -> None:
    def value_of(value: Number | Quantity) -> Decimal | None:
        return Decimal(value.text) if isinstance(value, Number) else values.get(value)

    assert holds(root, value_of) is naive(root, values)


def naive(part: Any, values: dict[Quantity, Decimal]) -> bool | None:
    """Kleene's logic as numbers: false 0, unknown 1/2, true 1; all is the least of them, any the greatest."""
    return {0.0: False, 0.5: None, 1.0: True}[_degree(part, values)]


def _degree(part: Any, values: dict[Quantity, Decimal]) -> float:
    if isinstance(part, All):
        return min(_degree(inner, values) for inner in part.parts)
    if isinstance(part, OneOf):
        return max(_degree(inner, values) for inner in part.parts)
    names = {"left": part.left, "right": part.right}
    try:
        figures = {
            name: Decimal(value.text) if isinstance(value, Number) else values[value]
            for name, value in names.items()
        }
    except KeyError:
        return 0.5
    return float(eval(f"left {part.operator} right", {}, figures))
