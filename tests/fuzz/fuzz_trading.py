"""Fuzz target: what trades reaches the wire exactly as it was typed, or not at all.

    python tests/fuzz/fuzz_trading.py --seconds 60 [--seed 1]

Lines are made of every parameter of the trading commands, with values that fit, nearly fit or do not, in
every spelling the grammar has; they take the way of a command line: parser, catalog, checks, the number that
an order gets, protocol. What would leave is compared with an account of the words that knows nothing of the
catalog's code.
"""

from __future__ import annotations

import json
import random
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[2] / "src"), str(Path(__file__).parents[2])]

from krakenws.cli.parser import parse
from krakenws.core import v1_entries
from krakenws.core.catalog import bind
from krakenws.core.ordercheck import wrong_for_pair, wrong_time
from krakenws.core.protocol import ClientProtocol
from krakenws.core.v1 import V1
from krakenws.core.v1_entries import PLACING
from krakenws.errors import UsageError
from krakenws.net.trading import requests_of
from krakenws.options import Options
from tests.fuzz.program import main
from tests.support.pairs import ROWS

if TYPE_CHECKING:
    from krakenws.core.catalog import Bound

TRADING = [entry for entry in v1_entries.ENTRIES if entry.trading]
NOW_S = 1_795_341_600.0
TOKEN = "a-token-of-the-fuzzer"
NUMBER = "1234567890"
NUMBERS = {"addOrder": {"userref", "cl_ord_id"}, "editOrder": {"newuserref"}}
"""What an order may be found by. One of them is ours if none was typed."""
ONE_BY_ONE = {"txid", "cl_ord_id"}
"""Lists whose items leave in requests of their own."""
GREETING = b'{"connectionID":1,"event":"systemStatus","status":"online","version":"1.9.2"}'
TRUE, FALSE = {"true", "yes", "on", "1"}, {"false", "no", "off", "0"}
_WORDS = """
    0.1 1 0 00.10 70000.1 70000.123 .5 5. 1e3 -1 +5 -1.5% #10 5% +0 + % NaN inf 0x10 1_000 1,000
    XBT/USD xbt/usd BTC/USD doge/xbt XBTUSD XBT/ PAXG/USD AAPLx/USD XBT/USD,ETH/USD buy SELL limit Stop-Loss
    stop_loss_limit trailing-stop market settle-position post post,fciq viqc fcib,viqc GTC gtd IOC agree
    cancel_newest CancelBoth true FALSE yes 2147483647 2147483648 -2147483648 5 10:1 86400 86399
    2026-11-22T10:00:05.000Z 2026-02-30T10:00:05Z now +60 1795341700 999999999999999 OADMSD-7AGC3-IMB46A
    OADMSD-7AGC3-IMB46A,OD6VRE-HCSPM-CKORER A,,B O'1 " \\ a=b 6d1b345e2821e25d8edadbbe4d0b5a71 kw123
    906bcc85-1866-4b4b-9d0d-880bbcbe7447
"""
VALUES = [*_WORDS.split(), "9" * 39, "9" * 41, "x" * 19, "", " 1", "1 ", "0.1\n", "\ud800", "\u0661"]
SWITCHES = {"margin", "reduceonly", "validate", "postonly"}
"""Parameters that may stand without a value."""
CHOSEN = {"type", "ordertype", "close[ordertype]", "timeinforce", "oflags", "stp_type", "trading_agreement"}
"""Parameters whose values are words of Kraken's, in any spelling."""


def made(choose: random.Random) -> list[str]:
    """Return the words of a command line."""
    entry = choose.choice(TRADING)
    name = choose.choice([entry.name, entry.name.lower(), "-".join(re.findall("[A-Za-z][a-z]*", entry.name))])
    words = [name]
    for param in entry.params:
        if param.required or choose.random() < 0.25:
            good = [str(value) for value in param.choices] or [param.example or "1"]
            text = choose.choice(good if choose.random() < 0.7 else VALUES)
            spelled = choose.choice([param.name, param.name.upper(), param.name.replace("_", "-")])
            words += choose.choice([[f"{spelled}={text}"], [f"--{spelled}={text}"], [f"--{spelled}", text]])
    if choose.random() < 0.3:
        at = choose.randrange(1, len(words) + 1)
        words.insert(
            at, choose.choice([*VALUES, "price=7", "volume=3", "nonce=1", "token=x", "event=cancelAll"])
        )
    return words


def plain(name: str) -> str:
    """Fold the spellings of a name."""
    return re.sub(r"[-_\[\]]", "", name).lower()


def typed(words: list[str]) -> dict[str, list[str]]:
    """Return what the words say, by folded name: an account of the grammar that shares no code with it."""
    said: dict[str, list[str]] = {}
    left = words[1:]
    while left:
        word = left.pop(0)
        if word.startswith("--") and "=" not in word:
            name, value = word[2:], left.pop(0) if left and not left[0].startswith("--") else "true"
            if plain(name) in SWITCHES and value.lower() not in TRUE | FALSE:
                left.insert(0, value)
                value = "true"
        elif "=" in word:
            name, value = word.removeprefix("--").split("=", 1)
        else:
            name, value = "pair", word
        joins_ids = plain(words[0]) == "cancelorder" and plain(name) == "userref"
        said.setdefault("txid" if joins_ids else plain(name), []).append(value)
    return said


def same(field: str, sent: object, texts: list[str]) -> bool:
    """Whether a field is what was typed for it."""
    if isinstance(sent, list):
        items = [item.strip(" ") for text in texts for item in text.split(",")]
        return sent == list(dict.fromkeys(items))
    (text,) = texts
    if isinstance(sent, bool):
        return text.lower() in (TRUE if sent else FALSE)
    if isinstance(sent, int):
        return str(sent) == text.lstrip("0") or (not sent and not text.strip("0"))
    if field == "validate":
        return text.lower() in (TRUE if sent == "true" else FALSE)
    if field == "pair":
        upper = re.sub(r"\bBTC\b", "XBT", re.sub(r"\bDOGE\b", "XDG", text.upper()))
        return str(sent).upper() == upper
    if field in CHOSEN:
        meant = dict.fromkeys(plain(part) for part in text.split(","))
        return [plain(part) for part in str(sent).split(",")] == list(meant)
    return sent == text


def send(words: list[str]) -> list[dict[str, object]]:
    """Take words the way of a command line; return the messages that leave, none if they were refused."""
    try:
        (feed,) = parse(words).feeds
        if feed.entry is None or not feed.entry.trading:
            return []
        bound = bind(feed.entry, feed.words)
    except UsageError as error:
        if not str(error).isprintable() or str(error).endswith("."):
            raise AssertionError(f"not one printable sentence: {error!r}") from None
        return []
    if bound.entry.name in PLACING and not passes(bound):
        return []
    protocol = ClientProtocol(V1, Options(), "private", jitter=lambda: 0.5)
    for request in requests_of(bound, lambda: NUMBER):
        protocol.request(request, 0.0)
    protocol.connecting(0.0)
    protocol.opened(0.0, TOKEN)
    protocol.receive([GREETING], 1, 0.0)
    frames = protocol.frames_to_send()
    if not all(frame.isascii() and b"\n" not in frame for frame in frames):
        raise AssertionError(f"not one line of ASCII each: {frames!r}")
    return [json.loads(frame, object_pairs_hook=once) for frame in frames]


def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Make an object of JSON, in which no name may stand twice."""
    if len(pairs) > len(dict(pairs)):
        raise AssertionError(f"a name stands twice: {pairs!r}")
    return dict(pairs)


def joined(messages: list[dict[str, object]]) -> dict[str, object]:
    """Return what requests ask together that differ in the one order they cancel, and in their numbers."""
    whole = dict(messages[0])
    if len({message["reqid"] for message in messages}) < len(messages):
        raise AssertionError(f"one number for two requests: {messages!r}")
    for other in messages[1:]:
        (differs,) = [name for name in whole.keys() | other.keys() if name in ONE_BY_ONE & other.keys()]
        if {**other, differs: 0, "reqid": 0} != {**messages[0], differs: 0, "reqid": 0}:
            raise AssertionError(f"not parts of one command: {messages!r}")
        whole[differs] = [*as_list(whole[differs]), *as_list(other[differs])]
    return whole


def as_list(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def without_our_number(fields: dict[str, object], said: dict[str, list[str]], name: str) -> dict[str, object]:
    """Take away the number that an order gets from us; it gets one if it has none, and is to be placed."""
    numbers = NUMBERS.get(name, set())
    ours = {name for name in numbers & fields.keys() if plain(name) not in said}
    wanted = numbers and not {plain(number) for number in numbers} & said.keys() and not only_checks(said)
    if len(ours) != bool(wanted):
        raise AssertionError(f"{said!r} left with {ours or 'no number'}")
    return {name: value for name, value in fields.items() if name not in ours}


def only_checks(said: dict[str, list[str]]) -> bool:
    return any(value.lower() in TRUE for value in said.get("validate", ()))


def passes(bound: Bound) -> bool:
    """Whether a command passes its checks; what is said against it has to be one printable sentence."""
    row = next((row for row in ROWS if row.wsname == bound.values.get("pair")), None)
    wrong = wrong_time(bound, NOW_S) or (wrong_for_pair(bound, row, "70000") if row else None)
    if wrong and (not wrong[1].isprintable() or wrong[1].endswith(".")):
        raise AssertionError(f"not one printable sentence: {wrong!r}")
    return wrong is None


def say(words: list[str]) -> bool:
    """Take one line; return whether it would be sent."""
    messages = send(words)
    if not messages:
        return False
    message = joined(messages)
    entry = next(entry for entry in TRADING if entry.name == message["event"])
    if plain(words[0]) != plain(entry.name) or message.pop("token") != TOKEN:
        raise AssertionError(f"{words!r} became {message!r}")
    said = typed(words)
    fields = {name: value for name, value in message.items() if name != "event"}
    if "reqid" not in said and not isinstance(fields.pop("reqid"), int):
        raise AssertionError(f"{words!r} has no number: {message!r}")
    fields = without_our_number(fields, said, entry.name)
    known = {param.wire or param.name for param in entry.params}
    if not fields.keys() <= known or {plain(name) for name in fields} != set(said):
        raise AssertionError(f"{words!r} became {message!r}")
    for name, value in fields.items():
        if not same(name, value, said[plain(name)]):
            raise AssertionError(f"{name} of {words!r} became {value!r}")
    return True


def run(seconds: float, seed: int, limit: int | None = None) -> tuple[int, int]:
    """Fuzz for a time, or for `limit` lines; return how many there were and how many would be sent."""
    choose = random.Random(seed)
    until = time.monotonic() + seconds
    done = sent = 0
    while done != limit and (limit is not None or time.monotonic() < until):
        words = made(choose)
        try:
            sent += say(words)
        except BaseException:
            sys.stderr.write(f"seed {seed}, line {done}: {words!r}\n")
            raise
        done += 1
    return done, sent


def _guided(data: bytes) -> None:
    say(data.decode("utf-8", "surrogateescape").split("\t"))


def _said(seconds: float, seed: int) -> str:
    done, sent = run(seconds, seed)
    return f"{done} lines, {sent} of them would be sent, all as typed"


if __name__ == "__main__":
    main(__doc__, _guided, _said)
