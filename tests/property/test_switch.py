"""Whatever is lost, refused or late: the switch never fires before we say it may, and off is off."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from krakenws.core.switch import Switch

ANSWER_S = 5.0
ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(
            ["wait", "answer", "refuse", "lose", "lose the answer", "off", "maintenance", "online"]
        ),
        st.floats(0.01, 20.0),
    ),
    max_size=60,
)


class Exchange:
    """Carries requests out in their order, each at once or never."""

    def __init__(self) -> None:
        self.fires_at: float | None = None

    def take(self, seconds: int, now: float) -> None:
        self.fires_at = now + seconds if seconds else None


@given(ACTIONS, st.integers(1, 300))
def test_what_is_believed_of_the_switch_errs_on_the_safe_side(
    actions: list[tuple[str, float]], timeout_s: int
) -> None:
    switch, exchange = Switch(timeout_s), Exchange()
    now, req_id = 1000.0, 0
    out: list[tuple[int, int]] = []
    for action, seconds in actions:
        now += min(seconds, ANSWER_S / 2)
        if action == "off":
            switch.wanted = False
        elif action in {"maintenance", "online"}:
            switch.maintenance = action == "maintenance"
        due = switch.due(now)
        if due is not None:
            req_id += 1
            switch.asked(req_id, now)
            out.append((req_id, due))
        if out and action not in {"wait", "off", "maintenance", "online"}:
            number, asked = out.pop(0)
            if action in {"answer", "lose the answer"}:
                exchange.take(asked, now)
            if action == "answer":
                switch.confirmed(number, now, ANSWER_S)
            else:
                switch.failed(number, now, unknown=action != "refuse")
        if switch.fires_at is not None and exchange.fires_at is not None:
            assert switch.fires_at <= exchange.fires_at
        if switch.settled:
            assert bool(exchange.fires_at) == switch.armed == bool(switch.target)
        deadline = switch.next_deadline()
        assert (deadline is not None and deadline <= now) == (switch.due(now) is not None)
