"""Lines of a session: whatever they are, they are understood or refused in a sentence, under their id."""

from __future__ import annotations

import json
from shlex import quote
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from krakenws.cli.asking import LONGEST_ID, START, Asked, Mistake, is_blank, read_line
from krakenws.cli.parser import entries
from krakenws.cli.reader import Reader
from krakenws.core.catalog import bind

if TYPE_CHECKING:
    from collections.abc import Callable

IDS = st.text(st.characters(codec="utf-8", exclude_categories=("Z", "C")), min_size=1, max_size=LONGEST_ID)
NAMES = [entry.name for entry in entries() if not entry.explicit]
WORDS = st.sampled_from(
    [
        *NAMES,
        *("unsubscribe", "status", "help", "quit", "subscribe", "sandbox", "+", "--api", "2", "-o", "json"),
        *("XBT/USD", "*/USD", "10", "pair=XBT/USD", "volume=1e5", "price=", "id=", "=", "--id", "--depth"),
        *("'", '"', "\\", "id=a", "--id=b", "snapshot=false", "--help", "token=abc"),
    ]
)
KEYS = st.sampled_from(
    ["do", "event", "method", "id", "pair", "params", "subscription", "name", "channel", "depth", "price=1"]
)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | FINITE | st.text(max_size=8) | st.sampled_from(NAMES),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=4), inner, max_size=5)
    ),
    max_leaves=12,
)


def patterns(_api: int) -> Any:
    return lambda _: ["XBT/USD", "ETH/USD"]


def understood(line: str) -> Asked | Mistake:
    try:
        return read_line(line, patterns)
    except Mistake as found:
        mistake = found
    assert str(mistake)
    assert "\n" not in str(mistake)
    return mistake


@given(st.text())
def test_any_text_is_understood_or_refused(line: str) -> None:
    if not is_blank(line):
        understood(line)


@given(st.lists(WORDS, min_size=1, max_size=7), IDS)
def test_any_words_are_answered_under_their_id(words: list[str], id_: str) -> None:
    others = [word for word in words if not word.startswith(("id=", "--id"))]
    line = " ".join([*others, quote(f"id={id_}")])
    if any(quotes in "".join(others) for quotes in "'\"\\"):
        understood(line)  # quotes may take the id into themselves
    elif not is_blank(line):
        assert understood(line).id == id_


@given(JSON, JSON, IDS | st.integers(-(10**15) + 1, 10**15 - 1))
def test_any_object_is_answered_under_its_id(verb: object, members: object, id_: str | int) -> None:
    for name in ("do", "event", "method"):
        given_ = {**(members if isinstance(members, dict) else {}), name: verb, "id": id_}
        assert understood(json.dumps(given_)).id == id_


@given(st.dictionaries(KEYS, JSON, max_size=6))
def test_any_object_is_understood_or_refused(members: dict[str, object]) -> None:
    understood(json.dumps(members))


def test_every_example_of_the_catalog_means_the_same_in_words_and_in_json() -> None:
    seen = 0
    for entry in entries():
        for example in entry.examples:
            if "--" in example or "*" in example:
                continue
            words = example.split()
            expected = bind(entry, words[1:])
            for line in (example, json.dumps({"do": entry.name, **expected.values})):
                asked = understood(line)
                assert isinstance(asked, Asked), asked
                assert asked.do == START
                assert asked.bound is not None
                assert asked.bound.entry is expected.entry
                assert asked.bound.values == expected.values
            seen += 1
    assert seen > 15


LINES = st.sampled_from(
    [
        *('{{"id":{id},"do":"ping"}}', '{{"id": {id}, "do": "ping"}}', '{{"id":1,"id":{id},"do":"ping"}}'),
        *('{{"id":{id},"do":"ticker","pair":"*/USD"}}', '{{"id":{id},}}', '{{"id":{id},"do":"status"}} x'),
        *(
            "ping id={id}",
            "ping id=a id={id}",
            "{{}} id={id}",
            '{{"do":"ping"}} id={id}',
            '"do":"ping"}} id={id}',
        ),
        *("# ping id={id}", 'ping "id={id}', "ticker XBT/USD id={id}", "ping id={id} 5", " id={id}", "{id}"),
        *('"addOrder" id={id}', "addOrder pair=XBT/USD type=buy ordertype=market volume=1 intent=n id={id}"),
    ]
)
ID_TEXTS = st.sampled_from(
    ["7", "07", "-7", "1e3", "9" * 15, "9" * 16, "a", '"a"', '"7"', "x" * 201, '""', "a:b", "'a'"]
)


def outcome(read: Callable[[str], Asked | None], line: str) -> object:
    try:
        return read(line)
    except Mistake as mistake:
        return str(mistake), mistake.id


@given(st.lists(LINES, min_size=1, max_size=3), st.lists(ID_TEXTS, min_size=2, max_size=4))
def test_a_line_means_the_same_whatever_was_read_before(forms: list[str], ids: list[str]) -> None:
    reader = Reader(patterns)
    for line in [form.format(id=id_) for id_ in ids for form in forms]:
        expected = None if is_blank(line) else outcome(lambda line: read_line(line, patterns), line)
        assert outcome(reader.read, line) == expected


ORDER = '"do":"addOrder","pair":"XBT/USD","type":"buy"'
NUMBERED = st.sampled_from(
    [
        "addOrder pair=XBT/USD type=buy ordertype=limit price={a} volume={b} id=i",
        "addOrder type=buy pair=XBT/USD ordertype=limit leverage={a} price={b} volume=5 id=i",
        "addOrder pair=XBT/USD type=buy ordertype=limit price={a} volume=1 cl_ord_id=:{b} intent=n{b} id=i",
        *("book XBT/USD {a} id=i", "{a} {b} id=i", "ping reqid={a} id=i"),
        *("cancelOrder userref={a},{b} id=i", "cancelAllOrdersAfter timeout={a} id=i"),
        f'{{{{"id":"i",{ORDER},"ordertype":"limit","price":{{a}},"volume":"{{b}}"}}}}',
        f'{{{{"id":"i",{ORDER},"ordertype":"stop-loss-limit","price":{{a}},"volume":"{{b}}","price2":7}}}}',
        f'{{{{"id":"i",{ORDER},"ordertype":"limit","userref":{{a}},"price": "{{a}}","volume":{{b}}}}}}',
        '{{"id":"i","do":"book","pair":["XBT/USD"],"depth":{a},"reqid":{b}}}',
        '{{"id":"i","event":"subscribe","pair":["XBT/USD"],"subscription":{{"name":"book","depth":{a}}}}}',
    ]
)
NUMBERS = st.sampled_from(
    ["1", "5", "10", "25", "0", "0.0", "1.50", "007", "-1", "1e3", "", "1" * 17, "0." + "3" * 21, "3.", "x"]
) | st.decimals(0, 9999, places=3).map(str)


@given(NUMBERED, st.lists(st.tuples(NUMBERS, NUMBERS), min_size=4, max_size=7))
def test_a_line_means_the_same_whatever_numbers_it_had_before(
    form: str, numbers: list[tuple[str, str]]
) -> None:
    reader = Reader(patterns)
    for a, b in [*numbers[:2] * 2, *numbers]:
        line = form.format(a=a, b=b)
        assert outcome(reader.read, line) == outcome(lambda line: read_line(line, patterns), line)
