"""`krakenws pairs`: the tradable pairs with their precisions."""

from __future__ import annotations

from time import time

from krakenws.cli.tables import write_fields
from krakenws.core.pair import PairRow
from krakenws.errors import UsageError
from krakenws.net.pairs import load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from krakenws.cli.context import Context


def run(context: Context, words: Sequence[str]) -> int:
    """List the pairs that the patterns match, or all; return the exit code.

    Raises:
        UsageError: no pair matches.
        ConnectionFailed: there is no list in the cache either.
    """
    pairs = load(context.options, refresh=bool(context.settings.get("refresh")), now_s=time())
    if pairs.note:
        context.note(pairs.note)
    wanted = {name for word in words for pattern in word.split(",") for name in pairs.expand(pattern)}
    chosen = [row for row in pairs.rows if not words or row.wsname in wanted]
    if words and not chosen:
        meant = pairs.nearest(words[0])
        raise UsageError(f"no pair matches {words[0]}" + (f"; did you mean {meant}?" if meant else ""))
    fields: tuple[str, ...] = PairRow.__match_args__
    rows = [{name: getattr(row, name) for name in fields} for row in chosen]
    if context.output == "json":  # what is not known is left out
        rows = [{name: value for name, value in row.items() if value is not None} for row in rows]
    write_fields(context, rows)
    return 0
