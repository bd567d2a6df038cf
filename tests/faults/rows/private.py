"""Faults of private feeds, tokens and orders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.faults.proxy import EXCHANGE, Blackhole, Reset, seen
from tests.faults.row import Group
from tests.faults.scene import run_sandbox, wait_until
from tests.faults.truth import check_fills, orders_taken

if TYPE_CHECKING:
    from tests.faults.scene import Scene

PRIVATE = Group("Private feeds and orders")
row = PRIVATE.row

OWN = "openOrders + ownTrades consolidate_taker=false"
REST_ASIDE = "limit price=60000 volume=0.01"
ORDER = f"addOrder pair=XBT/USD type=buy ordertype={REST_ASIDE}"
BUY = "addOrder pair=XBT/USD type=buy ordertype=market volume=0.01"
LOST = "disconnected connected gap update"
HEALS = "`disconnected`, a fresh token, subscribed again; a `gap` before each channel's new snapshot"
FOUND = "the order is looked for and found, `reply` says where, and it is not sent again"
UNKNOWN = "looked for in vain, then `unanswered`: the outcome is unknown, and the order is not sent again"
SHORT = ("--ack-timeout", "1s", "--look-ups", "500ms,2s")


# ---- feeds


@row(
    "a private channel skips a sequence number",
    "`gap`, that channel alone is subscribed anew, `gap` with both ends, its snapshot",
    tells="gap gap update",
    says="gap in openOrders: sequence .*; asked for again",
    noticed_s=5,
    back_s=10,
)
def sequence_skipped(scene: Scene) -> None:
    with scene.stream(OWN) as stream:
        stream.until("update", channel="ownTrades")
        scene.sandbox.fault("skip_sequence", channel="openOrders")
        scene.trade(ORDER)
        scene.trade(ORDER)
        scene.struck_ns = scene.mended_ns = scene.struck_by("skip_sequence")
        stream.until("gap", channel="openOrders", to=None)
        stream.until("update", channel="openOrders", type="snapshot")
        scene.trade("cancelAll")
    assert len(orders_taken(scene.truth)) == 2


@row(
    "the private connection is reset, and an order fills before it is back",
    HEALS + "; the fill is in the snapshot, and nowhere twice",
    tells=LOST,
    says="private connection lost: connection reset by peer",
    noticed_s=5,
    back_s=10,
    all_fills=True,
)
def filled_meanwhile(scene: Scene) -> None:
    with scene.stream(OWN) as stream:
        stream.until("update", channel="ownTrades")
        scene.trade(BUY)
        stream.until("update", channel="ownTrades", type="update")
        scene.proxy.deafen()
        scene.struck_ns = scene.proxy.cut()
        stream.until("disconnected")
        scene.trade(BUY)
        scene.proxy.listen()
        scene.mend()
        stream.until("gap", channel="ownTrades")
        stream.until("update", channel="ownTrades", type="snapshot")
        scene.trade(BUY)
        while not scene.fills <= check_fills(stream.events, scene.sandbox.settled()):
            stream.until("update", channel="ownTrades")
    assert len(scene.fills) >= 3


@row(
    "nothing comes through on the private connection",
    "`disconnected` after 8 s, as on the public one; then the same",
    tells=LOST,
    says="private connection lost: silent for 8 s",
    noticed_s=12,
    back_s=10,
)
def private_silence(scene: Scene) -> None:
    with scene.stream(OWN) as stream:
        stream.until("update", channel="ownTrades")
        scene.network(Blackhole())
        stream.until("disconnected")
        scene.mend_network()
        stream.until("update", channel="ownTrades")


@row(
    "every token is void, and the connection is reset",
    HEALS,
    tells=LOST,
    says="connecting again now",
    noticed_s=5,
    back_s=10,
)
def tokens_expired(scene: Scene) -> None:
    with scene.stream(OWN) as stream:
        stream.until("update", channel="ownTrades")
        scene.exchange("expire_tokens")
        scene.network(Reset())
        stream.until("disconnected")
        stream.until("update", channel="ownTrades")


@row(
    "the exchange calls the session invalid, once",
    "`refused`, another token is fetched, the subscription is asked for again",
    tells="refused subscribed update",
    says="refused: ESession:Invalid session",
    noticed_s=5,
    back_s=10,
)
def session_invalid(scene: Scene) -> None:
    scene.sandbox.fault("invalid_session", method="subscribe")
    scene.strike()
    with scene.stream("openOrders") as stream:
        stream.until("update", channel="openOrders")


@row(
    "the exchange calls every session invalid",
    "after one renewal the run ends: credentials",
    code=3,
    tells="refused error",
    says="refused",
    noticed_s=5,
)
def session_always_invalid(scene: Scene) -> None:
    scene.sandbox.fault("invalid_session", method="subscribe", times=10)
    scene.strike()
    scene.run("openOrders")


@row(
    "REST answers the call for a token with 520",
    "one sentence, no second try, for it never stood",
    code=4,
    tells="disconnected error",
    says="520",
    noticed_s=5,
)
def no_token_at_first(scene: Scene) -> None:
    scene.sandbox.fault("http_status", status=520, path="/0/private")
    scene.strike()
    scene.run("openOrders")


@row(
    "after a cut, REST answers the call for a token with 502",
    "`disconnected` twice; at least 5 s are waited",
    tells="disconnected disconnected connected gap update",
    says="502.*connecting again in 5.0 s",
    noticed_s=5,
    back_s=15,
)
def no_token_after_a_cut(scene: Scene) -> None:
    with scene.stream("openOrders") as stream:
        stream.until("update", channel="openOrders")
        scene.sandbox.fault("http_status", status=502, path="/0/private")
        scene.network(Reset())
        stream.until("disconnected")
        assert stream.until("disconnected")["retry_in_s"] >= 5
        stream.until("update", channel="openOrders")


@row(
    "the clock of this machine is behind the last nonce of its key",
    "nothing: nonces rise, whatever the clock says",
    tells="connected update",
    back_s=5,
)
def nonce_ahead(scene: Scene) -> None:
    from krakenws.exchange.keys import DEMO_KEY, DEMO_SECRET
    from krakenws.net.rest import ApiKey
    from krakenws.state import State

    hour_ns = 3_600_000_000_000
    scene.strike()
    state = State(str(scene.home / "state" / "krakenws"))
    state.next_nonce(ApiKey(DEMO_KEY, DEMO_SECRET, "test").key_id, scene.struck_ns + hour_ns)
    state.close()
    with run_sandbox(scene.home / "own") as own:  # the key is of no use there for anybody else from now on
        scene.move_to(own)
        with scene.stream("openOrders") as stream:
            stream.until("update", channel="openOrders")


# ---- orders


def order(scene: Scene, taken: int, *options: str) -> None:
    """Send one order, and see how many the exchange took."""
    scene.strike()
    scene.run(ORDER, *options)
    assert len(orders_taken(scene.truth)) == taken
    if taken:
        scene.trade("cancelAll")


@row(
    "an order is carried out, and its answer lost",
    FOUND,
    code=0,
    tells="reply",
    says="accepted, O.*found: openOrders",
    noticed_s=6,
)
def answer_lost(scene: Scene) -> None:
    scene.sandbox.fault("lose_answer", method="addOrder")
    order(scene, 1, *SHORT)


@row(
    "an order is carried out, and the connection cut before the answer",
    FOUND + ", on no other connection either",
    code=0,
    tells="disconnected reply",
    says="accepted, O.*found: openOrders",
    noticed_s=5,
)
def cut_before_the_answer(scene: Scene) -> None:
    scene.sandbox.fault("accept_then_cut", method="addOrder")
    order(scene, 1, "--reconnect", "forever")


@row(
    "an order is lost on its way",
    UNKNOWN + ": from here it looks the same as a lost answer",
    code=6,
    tells="unanswered error",
    says="outcome unknown",
    noticed_s=6,
)
def order_lost_on_its_way(scene: Scene) -> None:
    scene.proxy.switch_on(Blackhole(towards=EXCHANGE), when=seen(b"systemStatus"))
    order(scene, 0, *SHORT)


@row(
    "the exchange does not hear an order",
    UNKNOWN,
    code=6,
    tells="unanswered error",
    says="outcome unknown",
    noticed_s=6,
)
def order_unheard(scene: Scene) -> None:
    scene.sandbox.fault("no_ack", method="addOrder")
    order(scene, 0, *SHORT)


@row(
    "the connection is reset before the order could leave",
    "the sentence says that it was not sent; nothing is at the exchange",
    code=4,
    tells="disconnected error",
    says="krakenws: ",
    noticed_s=5,
)
def cut_before_the_order(scene: Scene) -> None:
    scene.proxy.switch_on(Reset(at_byte=60))
    order(scene, 0)


@row(
    "an order while the exchange is in maintenance",
    "refused here, with the reason; it does not leave",
    code=5,
    tells="reply error",
    says="not sent, the exchange is in maintenance",
    noticed_s=5,
)
def order_in_maintenance(scene: Scene) -> None:
    scene.sandbox.fault("system_status", status="maintenance")
    order(scene, 0)


@row(
    "an order is refused with `Exceeded msg rate`",
    "`reply`, rejected; it is not sent again",
    code=5,
    tells="reply error",
    says="Exceeded msg rate",
    noticed_s=5,
)
def order_too_fast(scene: Scene) -> None:
    scene.sandbox.fault("exceeded_rate", method="addOrder")
    order(scene, 0)


@row(
    "an order is refused with `ESession:Invalid session`",
    "`reply`, rejected; it is not sent again",
    code=3,
    tells="reply error",
    says="ESession:Invalid session",
    noticed_s=5,
)
def order_with_an_invalid_session(scene: Scene) -> None:
    scene.sandbox.fault("invalid_session", method="addOrder")
    order(scene, 0)


@row(
    "Ctrl-C while an order awaits its answer",
    "the answer is waited for and, if lost, looked for; a second Ctrl-C leaves at once with 6",
    code=0,
    tells="reply",
    says="accepted, O.*found: openOrders",
)
def interrupted_order(scene: Scene) -> None:
    scene.sandbox.fault("lose_answer", method="addOrder")
    with scene.stream(ORDER, *SHORT) as stream:
        wait_until(lambda: scene.struck_by("lose_answer"))
        stream.process.interrupt()
        scene.result = stream.process.finish()
    assert len(orders_taken(scene.truth)) == 1
    scene.trade("cancelAll")


@row(
    "a cancellation is carried out, and its answer lost",
    "the order is looked for, and found to be cancelled",
    code=0,
    tells="reply",
    says="cancelOrder .*accepted.*found: ",
    noticed_s=6,
)
def cancel_answer_lost(scene: Scene) -> None:
    (reply,) = [event for event in scene.trade(ORDER).events if event["event"] == "reply"]
    scene.sandbox.fault("lose_answer", method="cancelOrder")
    scene.strike()
    scene.run(f"cancelOrder txid={reply['result']['order_id']}", *SHORT)
    assert [entry["event"] for entry in scene.truth].count("Ended") == 1
