"""The dead man's switch: when it is renewed, and for how long it surely does not fire."""

from __future__ import annotations

from krakenws.core.switch import OFF, Switch

ANSWER_S = 2.0


def armed(at: float = 100.0) -> Switch:
    switch = Switch(60)
    assert switch.due(at) == 60
    switch.asked(1, at)
    assert switch.confirmed(1, at + 0.1, ANSWER_S)
    return switch


def test_nothing_more_is_asked_until_the_answer_is_there() -> None:
    switch = Switch(60)
    switch.asked(1, 100.0)
    assert switch.due(1000.0) is None
    assert switch.next_deadline() is None
    assert not switch.armed


def test_it_is_renewed_every_third_of_its_time() -> None:
    switch = armed()
    assert switch.armed
    assert switch.next_deadline() == 120.0
    assert switch.due(119.9) is None
    assert switch.due(120.0) == 60
    assert switch.left_s(120.0) == 40.0


def test_a_request_that_waited_for_a_connection_counts_from_when_it_can_have_left() -> None:
    switch = Switch(60)
    switch.asked(1, 100.0)
    switch.confirmed(1, 150.0, ANSWER_S)
    assert switch.left_s(150.0) == 58.0


def test_a_renewal_that_fails_is_made_again_soon_and_moves_nothing() -> None:
    switch = armed()
    switch.asked(2, 120.0)
    assert switch.failed(2, 122.0, unknown=True)
    assert (switch.armed, switch.left_s(122.0)) == (True, 38.0)
    assert switch.due(126.9) is None
    assert switch.due(127.0) == 60


def test_a_short_switch_is_retried_sooner() -> None:
    switch = Switch(9)
    switch.asked(1, 100.0)
    switch.failed(1, 100.0, unknown=False)
    assert switch.next_deadline() == 101.0


def test_it_is_switched_off_at_once_even_while_a_renewal_is_out() -> None:
    switch = armed()
    switch.asked(2, 120.0)
    switch.wanted = False
    assert switch.due(120.1) == OFF
    switch.asked(3, 120.1)
    switch.confirmed(3, 120.2, ANSWER_S)
    assert not switch.settled, "the renewal may come after it"
    switch.confirmed(2, 120.3, ANSWER_S)
    assert (switch.setting, switch.settled) == (OFF, True), "an answer that comes late sets nothing back"


def test_maintenance_switches_it_off_and_its_end_on_again() -> None:
    switch = armed()
    switch.maintenance = True
    assert switch.due(101.0) == OFF
    switch.asked(2, 101.0)
    switch.confirmed(2, 101.1, ANSWER_S)
    assert (switch.armed, switch.left_s(1000.0)) == (False, float("inf"))
    assert switch.next_deadline() is None
    switch.maintenance = False
    assert switch.due(200.0) == 60


def test_an_unanswered_request_to_arm_leaves_a_doubt_that_is_cleared() -> None:
    switch = Switch(60)
    switch.asked(1, 100.0)
    switch.failed(1, 105.0, unknown=True)
    switch.wanted = False
    assert not switch.settled
    assert switch.due(110.0) == OFF


def test_a_request_to_arm_again_leaves_the_same_doubt() -> None:
    switch = armed()
    switch.maintenance = True
    switch.asked(2, 101.0)
    switch.confirmed(2, 101.1, ANSWER_S)
    switch.maintenance = False
    switch.asked(3, 200.0)
    switch.failed(3, 205.0, unknown=True)
    switch.wanted = False
    assert not switch.settled
    assert switch.due(210.0) == OFF


def test_answers_to_others_are_not_its_own() -> None:
    switch = armed()
    assert not switch.confirmed(7, 101.0, ANSWER_S)
    assert not switch.failed(7, 101.0, unknown=True)


def test_over_a_new_connection_numbers_begin_anew() -> None:
    switch = armed()
    switch.asked(8, 120.0)
    switch.dropped(121.0)
    switch.asked(1, 126.0)
    assert switch.confirmed(1, 126.1, ANSWER_S)
    assert switch.left_s(126.1) > 59
