"""Any words bind or are refused in one sentence; what binds is on the wire exactly."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from krakenws.core import v1_entries, v2_entries
from krakenws.core.catalog import CHANNEL, PRIVATE, Entry, bind
from krakenws.core.v1 import V1
from krakenws.core.v2 import V2
from krakenws.errors import UsageError

ENTRIES = (*v1_entries.ENTRIES, *v2_entries.ENTRIES)

entries = st.sampled_from(ENTRIES)
texts = st.text(max_size=12) | st.sampled_from(
    [
        "",
        "XBT/USD",
        "eth/eur,btc/usd",
        "*/USD",
        "10",
        "25",
        "1e3",
        "-1",
        "true",
        "buy",
        "limit",
        "+1.5%",
        "A,B",
    ]
)


@st.composite
def words_of(draw: st.DrawFn, entry: Entry) -> list[str]:
    """Words that have a chance: the entry's own parameters, choices and examples, and anything else."""
    names = [param.name for param in entry.params] or ["x"]
    examples = [f"{p.name}={value}" for p in entry.params for value in (*p.choices, p.example) if value != ""]
    word = st.one_of(
        texts,
        st.builds("{}={}".format, st.sampled_from(names), texts),
        st.sampled_from(examples or ["x=1"]),
    )
    start = list(entry.examples[0].partition(" --")[0].split()[1:]) if draw(st.booleans()) else []
    return [*start, *draw(st.lists(word, max_size=5))]


@given(data=st.data(), entry=entries)
@settings(max_examples=300, deadline=None)
def test_any_words_bind_exactly_or_are_refused_in_one_sentence(data: st.DataObject, entry: Entry) -> None:
    words = data.draw(words_of(entry))
    try:
        bound = bind(entry, words, expand=lambda _: ["XBT/USD"])
    except UsageError as error:
        said = str(error)
        assert said
        assert said.isprintable()
        assert not said.endswith(".")
        return
    dialect = V1 if entry.api == 1 else V2
    token = "token" if entry.access == PRIVATE else ""
    frame = (
        dialect.subscribe(entry, bound.values, bound.symbols, token)
        if entry.kind == CHANNEL
        else dialect.command(entry, bound.values, token, None)
    )
    assert frame.isascii()
    message = json.loads(frame)
    sent = flat(message)
    for name, value in bound.values.items():
        assert sent[name] == value
        assert type(sent[name]) is type(value)
    for text in strings(list(bound.values.values())):
        assert not any(
            character in "\"'`\\" or unicodedata.category(character)[0] == "C" for character in text
        )


def flat(message: dict[str, Any]) -> dict[str, Any]:
    """The fields of a frame, those of `subscription` and `params` beside the others."""
    inner = message.get("subscription") or message.get("params") or {}
    return {**message, **inner}


def strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [text for item in value for text in strings(item)] if isinstance(value, list) else []
