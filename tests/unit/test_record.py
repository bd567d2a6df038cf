"""Records: frozen, comparable, cheap."""

from __future__ import annotations

import subprocess
import sys

import pytest

from krakenws.record import cached_property, record, replace


@record
class Point:
    x: int
    y: int = 2


@record
class Named(Point):
    name: str = ""


def test_fields_are_given_in_order_or_by_name() -> None:
    assert Point(1, 3) == Point(y=3, x=1)
    assert (Point(1).x, Point(1).y) == (1, 2)


def test_the_fields_of_a_base_come_first() -> None:
    named = Named(1, 2, "here")
    assert (named.x, named.y, named.name) == (1, 2, "here")
    assert repr(named) == "Named(x=1, y=2, name='here')"


@pytest.mark.parametrize(
    ("values", "named"),
    [((), {}), ((1, 2, 3), {}), ((1,), {"x": 1}), ((1,), {"z": 1})],
    ids=["missing", "too many", "twice", "unknown"],
)
def test_wrong_fields_are_type_errors(values: tuple[int, ...], named: dict[str, int]) -> None:
    with pytest.raises(TypeError):
        Point(*values, **named)


def test_a_record_refuses_assignment_and_deletion() -> None:
    point = Point(1)
    with pytest.raises(AttributeError, match="frozen"):
        point.x = 3  # type: ignore[misc]  # what is tested
    with pytest.raises(AttributeError, match="frozen"):
        del point.x
    assert point == Point(1)


def test_records_are_equal_only_within_their_class() -> None:
    assert Point(1) != Named(1)
    assert object() != Point(1)
    assert hash(Point(1)) == hash(Point(1, 2))


def test_replace_changes_a_copy() -> None:
    point = Point(1)
    assert replace(point, y=5) == Point(1, 5)
    assert point == Point(1, 2)


def test_what_a_record_derives_is_worked_out_once_and_belongs_to_it_alone() -> None:
    worked_out: list[int] = []

    @record
    class Square:
        side: int

        @cached_property
        def area(self) -> int:
            worked_out.append(self.side)
            return self.side**2

    two, three = Square(2), Square(3)
    assert (two.area, two.area, three.area, worked_out) == (4, 4, 9, [2, 3])
    assert replace(two, side=4).area == 16
    assert two == Square(2)


def test_records_match_patterns() -> None:
    match Named(1, 2, "n"):
        case Named(x, _, name):
            assert (x, name) == (1, "n")


def test_records_do_without_the_modules_that_cost_start_up_time() -> None:
    code = (
        f"import sys; sys.path[:] = {sys.path!r}; import krakenws.record;"
        " print([name for name in ('dataclasses', 'inspect', 'typing') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
