"""Lines of a session that are known again, and those that must not be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from krakenws.cli import reader as module
from krakenws.cli.asking import Mistake, read_line
from krakenws.cli.reader import Reader

if TYPE_CHECKING:
    from krakenws.cli.asking import Asked

ORDER = (
    '{{"id":{id},"do":"addOrder","pair":"XBT/USD","type":"buy","ordertype":"limit",'
    '"price":"{price}","volume":"{qty}"}}'
)
WORDS = "addOrder pair=XBT/USD type=buy ordertype=limit price={price} volume={qty} id={id}"
UNQUOTED = ORDER.replace('"{price}"', " {price}").replace('"{qty}"', "{qty}")


def patterns(_api: int) -> Any:
    return lambda _: ["XBT/USD", "ETH/USD"]


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was read from its beginning to its end."""
    read: list[str] = []

    def counted(line: str, patterns: Any) -> Asked:
        read.append(line)
        return read_line(line, patterns)

    monkeypatch.setattr(module, "read_line", counted)
    return read


@pytest.mark.parametrize("form", ['{{"id":{},"do":"ping"}}', '{{"id": "{}", "do": "ping"}}', "ping id={}"])
def test_a_line_that_differs_by_its_id_only_is_known_again(form: str, reads: list[str]) -> None:
    reader = Reader(patterns)
    asked = [reader.read(form.format(number)) for number in range(1, 9)]
    assert len(reads) == 3, "twice, and once to prove it"
    ids = [*range(1, 9)] if form.startswith('{{"id":{}') else [*"12345678"]
    assert [one and one.id for one in asked] == ids


@pytest.mark.parametrize("form", [ORDER, WORDS, UNQUOTED])
def test_an_order_that_differs_by_its_numbers_is_known_again(form: str, reads: list[str]) -> None:
    reader = Reader(patterns)
    for number in range(1, 9):
        line = form.format(id=number, price=number, qty=f"{number}.05")
        assert reader.read(line) == read_line(line, patterns)
    assert len(reads) == 3


@pytest.mark.parametrize("form", [ORDER, WORDS])
@pytest.mark.parametrize("price", ["0", "0.0", "1" * 16 + "." + "1" * 20, "007", "-1", "1e5", "+5", "5%", ""])
def test_numbers_of_a_known_order_are_held_to_what_any_are_held_to(form: str, price: str) -> None:
    reader = Reader(patterns)
    for number in range(1, 4):
        reader.read(form.format(id=number, price=number, qty=number))
    line = form.format(id=9, price=price, qty="1")
    found: list[object] = []
    for read in (reader.read, lambda line: read_line(line, patterns)):
        try:
            found.append(read(line))
        except Mistake as mistake:
            found.append((str(mistake), mistake.id))
    assert found[0] == found[1]


def test_a_number_without_quotes_is_json_however_often_the_form_was_read() -> None:
    reader = Reader(patterns)
    for number in range(1, 4):
        reader.read(UNQUOTED.format(id=number, price=number, qty=number))
    with pytest.raises(Mistake, match="no JSON object"):
        reader.read(UNQUOTED.format(id=9, price="007", qty="1"))


def test_the_same_number_twice_still_goes_to_its_own_parameters() -> None:
    reader = Reader(patterns)
    for number in (5, 5, 5):
        reader.read(ORDER.format(id=1, price=number, qty=number))
    asked = reader.read(ORDER.format(id=2, price="7", qty="0.5"))
    assert asked is not None
    assert asked.bound is not None
    assert (asked.bound.values["price"], asked.bound.values["volume"]) == ("7", "0.5")


def test_lines_whose_numbers_are_more_than_values_are_read_anew(reads: list[str]) -> None:
    reader = Reader(patterns)
    for number in range(3, 9):
        line = f"addOrder pair=XBT/USD type=buy ordertype=limit price=1 volume=1 intent={number} id=a"
        asked = reader.read(line)
        assert asked is not None
        assert asked.intent == str(number)
    assert len(reads) == 6


@pytest.mark.parametrize(
    "form", ["ticker */USD id={}", '{{"id":{},"do":"ticker","pair":"\\u002a/USD"}}', "ticker ???/USD id={}"]
)
def test_a_pattern_is_read_anew_however_it_is_spelled(form: str) -> None:
    listed = [["XBT/USD"]] * 3 + [["XBT/USD", "SOL/USD"]]
    reader = Reader(lambda _: lambda _: listed.pop(0))
    found = [reader.read(form.format(number)) for number in range(1, 5)]
    assert [one and one.bound and one.bound.symbols for one in found][2:] == [
        ["XBT/USD"],
        ["XBT/USD", "SOL/USD"],
    ]


def test_a_reader_forgets_when_it_knows_too_much() -> None:
    reader = Reader(patterns)
    for number in range(2000):
        for _ in range(2):
            assert reader.read(f"cancelOrder txid=O{number // 2:06}-AAAAA-BBBBBB id=a")
    assert len(reader._forms) <= 256
    assert len(reader._times) <= 256
