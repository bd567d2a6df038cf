"""`krakenws decode`: recorded frames through the same pipeline to any output, without a network."""

from __future__ import annotations

import re
import signal
import sys
from json import loads
from time import time_ns

from krakenws.cli.context import dialect_of
from krakenws.core.events import Update, doubt_of
from krakenws.core.protocol import ClientProtocol
from krakenws.core.redaction import MASK, MIN_TOKEN_LENGTH
from krakenws.errors import RemoteProtocolError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import BinaryIO

    from krakenws.cli.context import Context
    from krakenws.core.events import Event
    from krakenws.core.redaction import Redactor
    from krakenws.options import Options


_LATEST_S = 253_402_300_800
"""The year 10000: no RFC 3339 text says a later time."""
_V2 = re.compile(rb'"(?:method|channel)"[ \t]*:')
_TOKEN = re.compile(rb'("token"[ \t]*:[ \t]*")((?:[^"\\]|\\.)+)')


def run(context: Context, words: Sequence[str]) -> int:
    """Print what a file of frames says, until its end or a signal; return the exit code.

    Raises:
        UsageError: there is more than one word, the file cannot be read, or a recorded line is broken.
        RemoteProtocolError: with `strict`, at the first frame that cannot be trusted.
    """
    if len(words) > 1:
        raise UsageError(f"decode reads one file, or - for standard input: {words[1]} is one too many")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _decode(context, words[0] if words else "-")
    except KeyboardInterrupt:
        return 0  # told to end, as a stream is
    return 0


def _decode(context: Context, path: str) -> None:
    """Write what the frames of a file say; `-` is standard input.

    A line is a frame as received, or a recorded `{"t", "dir", "frame"}`; REST answers among them are skipped.
    `received` is the recorded time, else the time of decoding. Without `--api` the first frame tells whose
    they are.
    """
    options, settings = context.options, context.settings
    sink = context.open_sink(None)
    api, count = settings.get("api"), settings.get("count")
    left = count if isinstance(count, int) else None
    protocol = None
    for sent, frame, received_ns in _frames(context, path):
        if protocol is None or api is None:
            api = api or _api_of(frame)
            dialect = dialect_of(api if isinstance(api, int) else 1)
            protocol = ClientProtocol(dialect, options, path, jitter=lambda: 0.0, adopt=True)
        if sent:
            sink.sent([frame])
            continue
        events = protocol.receive([frame], received_ns, received_ns / 1e9)
        if sink.wants_events:
            sink.write(events)
        else:
            sink.received([frame])
        for event in events:
            _doubt(event, options, context.note)
        if left is not None:
            left -= sum(type(event) is Update for event in events)
            if left <= 0:
                break
    sink.close()
    if protocol is None:
        context.note(f"{'standard input' if path == '-' else path} has no frame of the WebSocket API")


def _api_of(frame: bytes) -> int | None:
    """Return the API that a frame is of, as far as it tells. Source: v1.md 1, v2.md 1: how messages look."""
    if frame[:1] == b"[":
        return 1
    return 2 if _V2.search(frame) else 1 if b'"event"' in frame else None


def _frames(context: Context, path: str) -> Iterator[tuple[bool, bytes, int]]:
    """Give whether a frame was sent, the frame without the tokens in it, and when it was received."""
    redactor = context.redactor
    for line_number, line in enumerate(_lines(path), start=1):
        sent, frame, received_ns = _read(line, line_number, path)
        if frame and not context.options.show_token:
            frame = redactor.clean_bytes(_without_token(frame, redactor))
        if frame:
            yield sent, frame, received_ns


def _lines(path: str) -> Iterator[bytes]:
    file: BinaryIO
    try:
        with sys.stdin.buffer if path == "-" else open(path, "rb") as file:
            yield from file
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None


def _read(line: bytes, line_number: int, path: str) -> tuple[bool, bytes, int]:
    """Return whether a frame was sent by the client, the frame, and when it was received."""
    text = line.strip(b"\r\n")
    if not text.startswith(b'{"t"') and b'"frame"' not in text[:200]:
        return False, text, time_ns()
    try:
        recorded = loads(text)
        frame, direction, at = recorded["frame"], recorded.get("dir", "in"), recorded.get("t")
        if "url" in recorded:
            return False, b"", 0
        received_ns = _nanoseconds(at) if at is not None else time_ns()
        return direction == "out", frame.encode("utf-8", "surrogatepass"), received_ns
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        raise UsageError(
            f'{path}, line {line_number}: neither a frame nor a line of {{"t": …, "dir": …, "frame": …}}'
        ) from None


def _nanoseconds(text: str) -> int:
    whole, _, fraction = str(text).partition(".")
    seconds = int(whole)
    if not 0 <= seconds < _LATEST_S:
        raise ValueError("no time since 1970")
    return seconds * 1_000_000_000 + int(fraction[:9].ljust(9, "0") or 0)


def _without_token(frame: bytes, redactor: Redactor) -> bytes:
    """Mask what a recorded request or echo calls `token`; from here on it is a secret in every frame.

    One too short to be a token stands for a real one that was taken out: only its own place is masked.
    """

    def mask(found: re.Match[bytes]) -> bytes:
        value = found[2].decode("utf-8", "replace").replace("\\/", "/")
        if len(value) >= MIN_TOKEN_LENGTH:
            redactor.add(value)
        return found[1] + MASK.encode()

    return _TOKEN.sub(mask, frame) if b'"token"' in frame else frame


def _doubt(event: Update | Event, options: Options, note: Callable[[str], None]) -> None:
    said = doubt_of(event)
    if options.strict and isinstance(event, Update) and (flaw := event.flaw()):
        said = f"unusable frame of {event.route.entry.name} {event.route.symbol}: {flaw}"
    if not said:
        return
    if options.strict:
        raise RemoteProtocolError(f"--strict: {said}")
    note(said)
