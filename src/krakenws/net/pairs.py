"""The exchange's list of tradable pairs, from REST `AssetPairs` or from the cache of an earlier run.

`pairs.jsonl` in the cache directory keeps one list for each REST endpoint. A list is fresh for a day; an
older one serves when the exchange cannot be reached, and the `note` says so. The cache is never worth a
failure: one that cannot be read is fetched again, one that cannot be written is mentioned.

The file is JSON lines: its layout, then for each endpoint an object, and behind it a list for each pair. So
`Shelf` finds the one pair of an order without parsing the other thousand: 0.2 ms instead of 10.

Source: auth.md sections 5.3 and 5.5; quirks A1 to A6.
"""

from __future__ import annotations

import os
from math import inf
from time import monotonic
from types import NoneType

from krakenws.core.kinds import PAIR_ALIASES
from krakenws.core.pair import PairRow
from krakenws.directories import cache_dir, replace_file
from krakenws.errors import ConnectionFailed
from krakenws.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from krakenws.options import Options

_LOOK_S = 1.0
FRESH_S = 24 * 3600.0
_LAYOUT = b'{"layout":2}'
_MAX_ENDPOINTS = 8
"""Lists kept at most: a sandbox on a new port each time must not make the file grow for ever."""
_GONE = "delisted"


_KINDS: tuple[type | tuple[type, ...], ...] = (
    str,
    str,
    str,
    str,
    *[(int, NoneType)] * 2,
    *[(str, NoneType)] * 4,
    int,
    int,
)
"""The kinds of a row's fields, in order: what a cached row must have."""


@record
class Pairs:
    """The list of pairs.

    Attributes:
        rows: one for each pair, in order of `wsname`.
        note: what the user should know about the list's age or its cache, or "".
    """

    rows: tuple[PairRow, ...]
    note: str = ""

    @property
    def names(self) -> list[str]:
        """The v1 names, in order."""
        return [row.wsname for row in self.rows]

    def find(self, name: str) -> PairRow | None:
        """Return the pair of that v1 or v2 name, in any letter case."""
        wanted = name.casefold()
        return next(
            (row for row in self.rows if wanted in {row.wsname.casefold(), row.symbol.casefold()}), None
        )

    def expand(self, pattern: str, api: int = 1) -> list[str]:
        """Return the pairs that a shell pattern (`*/USD`, `XBT/*`) matches, in the names of that API.

        Letter case does not matter, and a pattern may use the names of either API. Every pair counts that is
        not delisted: feeds of a pair run while its orders are restricted.
        """
        from fnmatch import fnmatchcase

        wanted = pattern.casefold()
        return [
            _name(row, api)
            for row in self.rows
            if row.status != _GONE
            and (fnmatchcase(row.wsname.casefold(), wanted) or fnmatchcase(row.symbol.casefold(), wanted))
        ]

    def nearest(self, text: str, api: int = 1) -> str | None:
        """Return the pair that was probably meant, in the name of that API, or None.

        `XBTUSD`, `XXBTZUSD`, `btc-usd` are names of XBT/USD; anything else goes by spelling.
        """
        from difflib import get_close_matches

        meant: dict[str, PairRow] = {}
        for row in self.rows:
            if row.status != _GONE:
                for name in (row.wsname, row.symbol, row.altname, row.rest_key):
                    meant.setdefault(_letters(name), row)
        wanted = _letters(text)
        found = [wanted] if wanted in meant else get_close_matches(wanted, meant, n=1)
        return _name(meant[found[0]], api) if found else None


def load(options: Options, *, refresh: bool, now_s: float, directory: str | None = None) -> Pairs:
    """Return the exchange's pairs.

    Args:
        options: `rest_url` names the exchange.
        refresh: ask it even if the cached list is fresh.
        now_s: seconds since 1970.
        directory: where the cache is; None for the user's cache directory.

    Raises:
        ConnectionFailed: it could not be asked or knows no pair, and there is no list of an earlier run.
        RequestRejected: the exchange refused.
        UsageError: `rest_url` or `cafile` cannot be used.
    """
    cached = _read_cache(_path(directory)).get(options.rest_url)
    if cached is not None and not refresh and 0 <= now_s - cached[0] < FRESH_S:
        return Pairs(cached[1])
    try:
        rows = _fetch(options)
    except ConnectionFailed as error:
        if cached is None:
            raise
        return Pairs(cached[1], f"the list of pairs is the one of {_when(cached[0])}: {error}")
    return Pairs(rows, keep(options, rows, now_s, directory))


def keep(options: Options, rows: Sequence[PairRow], now_s: float, directory: str | None = None) -> str:
    """Put the list of `options.rest_url` into the cache, whole or not at all.

    Returns:
        What the user should know, if it cannot be written; else "".
    """
    from json import dumps

    path = _path(directory)
    entries = {**_read_cache(path), options.rest_url: (now_s, rows)}
    lines = [_LAYOUT.decode()]
    for name in sorted(entries, key=lambda name: entries[name][0], reverse=True)[:_MAX_ENDPOINTS]:
        fetched_s, listed = entries[name]
        lines.append(dumps({"endpoint": name, "fetched_s": fetched_s}, separators=(",", ":")))
        lines += [
            dumps([getattr(row, field) for field in PairRow.__match_args__], separators=(",", ":"))
            for row in listed
        ]
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        replace_file(path, "\n".join(lines) + "\n")
    except OSError as error:
        return f"the list of pairs could not be kept in {path}: {error.strerror}"
    return ""


@record
class Listed:
    """What the cache says of one pair.

    Attributes:
        row: the pair, or None: the list does not have it.
        fetched_s: when the list was fetched, seconds since 1970.
    """

    row: PairRow | None
    fetched_s: float


class Shelf:
    """The cached list of one exchange, looked into for one pair at a time.

    The file is read once a pair, and again within a second after another list has taken its place.

    Args:
        options: `rest_url` names the exchange.
        directory: where the cache is; None for the user's cache directory.
    """

    def __init__(self, options: Options, directory: str | None = None) -> None:
        self._url = options.rest_url
        self._path = _path(directory)
        self._seen: tuple[int, ...] = ()
        self._looks_at = -inf
        self._found: dict[str, Listed] = {}

    def find(self, name: str) -> Listed | None:
        """Return what the list, of whatever age, says of a pair; None without a list.

        Args:
            name: the pair in the name of either API, in the exchange's spelling.
        """
        now = monotonic()
        try:
            if now >= self._looks_at:
                self._look()
                self._looks_at = now + _LOOK_S
            found = self._found.get(name)
            if found is None:
                found = self._read(name)
                if found is not None and found.row is not None:
                    self._found[name] = found
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return None
        return found

    def _look(self) -> None:
        """Forget what was found in another file than there is now. To look takes as long as all checks do."""
        file = os.stat(self._path)
        seen = file.st_ino, file.st_mtime_ns, file.st_size
        if seen != self._seen:
            self._seen = seen
            self._found.clear()

    def _read(self, name: str) -> Listed | None:
        from json import dumps

        aliases = PAIR_ALIASES[1]
        wsname = "/".join(aliases.get(asset, asset) for asset in name.split("/"))
        with open(self._path, "rb") as file:
            data = file.read()
        begin = data.find(f'\n{{"endpoint":{dumps(self._url)},'.encode())
        if not data.startswith(_LAYOUT) or begin < 0:
            return None
        end = data.find(b"\n{", begin + 1)
        at = data.find(f"\n[{dumps(wsname)},".encode(), begin, end if end >= 0 else len(data))
        row = _cached_row(_line_at(data, at)) if at >= 0 else None
        return Listed(row, _cached_time(_line_at(data, begin)["fetched_s"]))


def _line_at(data: bytes, newline: int) -> Any:
    """Return the JSON value of the line behind a line feed."""
    from json import loads

    end = data.find(b"\n", newline + 1)
    return loads(data[newline + 1 : end if end >= 0 else len(data)])


def _fetch(options: Options) -> tuple[PairRow, ...]:
    from krakenws.net.rest import RestClient

    rows = parse(RestClient(options).asset_pairs())
    if not rows:
        raise ConnectionFailed(f"{options.rest_url} gave a list without any pair")
    return rows


def parse(result: Mapping[str, object]) -> tuple[PairRow, ...]:
    """Return the rows of an `AssetPairs` result, by `wsname`; entries without one are left out (quirk A5)."""
    rows = [_row(key, entry) for key, entry in result.items() if isinstance(entry, dict)]
    return tuple(sorted((row for row in rows if row is not None), key=lambda row: row.wsname))


def _row(rest_key: str, entry: Mapping[str, object]) -> PairRow | None:
    wsname = _text(entry, "wsname")
    if wsname is None or "/" not in wsname:
        return None
    aliases = PAIR_ALIASES[2]
    return PairRow(
        wsname=wsname,
        altname=_text(entry, "altname") or rest_key,
        rest_key=rest_key,
        symbol="/".join(aliases.get(asset, asset) for asset in wsname.split("/")),
        pair_decimals=_decimals(entry, "pair_decimals"),
        lot_decimals=_decimals(entry, "lot_decimals"),
        tick_size=_number(entry, "tick_size"),
        ordermin=_number(entry, "ordermin"),
        costmin=_number(entry, "costmin"),
        status=_text(entry, "status"),
        leverage_buy=_highest(entry, "leverage_buy"),
        leverage_sell=_highest(entry, "leverage_sell"),
    )


def _text(entry: Mapping[str, object], field: str) -> str | None:
    value = entry.get(field)
    return value if isinstance(value, str) and value.isprintable() else None


def _number(entry: Mapping[str, object], field: str) -> str | None:
    text = _text(entry, field)
    return text if text and text.isascii() and text.replace(".", "", 1).isdigit() and len(text) < 40 else None


def _decimals(entry: Mapping[str, object], field: str) -> int | None:
    value = entry.get(field)
    return value if type(value) is int and 0 <= value < 40 else None


def _highest(entry: Mapping[str, object], field: str) -> int:
    values = entry.get(field)
    return max((v for v in values if type(v) is int), default=0) if isinstance(values, list) else 0


def _name(row: PairRow, api: int) -> str:
    return row.wsname if api == 1 else row.symbol


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text)).casefold()


def _when(fetched_s: float) -> str:
    import time

    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(fetched_s))


def _path(directory: str | None) -> str:
    return os.path.join(cache_dir() if directory is None else directory, "pairs.jsonl")


def _read_cache(path: str) -> dict[str, tuple[float, tuple[PairRow, ...]]]:
    """Return (time of fetching, rows) by REST endpoint; nothing when the file is absent or not ours."""
    from json import loads

    found: dict[str, tuple[float, list[PairRow]]] = {}
    rows: list[PairRow] = []
    try:
        with open(path, "rb") as file:
            layout, *lines = file.read().splitlines()
        for line in lines if layout == _LAYOUT else ():
            value = loads(line)
            if isinstance(value, dict):
                rows = []
                found[value["endpoint"]] = _cached_time(value["fetched_s"]), rows
            else:
                rows.append(_cached_row(value))
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return {}
    return {url: (fetched_s, tuple(listed)) for url, (fetched_s, listed) in found.items()}


def _cached_time(value: object) -> float:
    if not isinstance(value, int | float) or not 0 <= value < 1e11:
        raise ValueError("no time")
    return float(value)


def _cached_row(values: Sequence[object]) -> PairRow:
    """Return the row of a cache entry; ValueError when it is not one we wrote."""
    if not all(isinstance(value, kind) for value, kind in zip(values, _KINDS, strict=True)):
        raise ValueError("a row of another layout")
    return PairRow(*values)  # type: ignore[arg-type]  # checked just above
