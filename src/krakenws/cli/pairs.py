"""`krakenws pairs`: the tradable pairs with their precisions."""

from __future__ import annotations

from time import time

from krakenws.cli.tables import write_csv, write_json, write_table
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
    rows = [row for row in pairs.rows if not words or row.wsname in wanted]
    if words and not rows:
        meant = pairs.nearest(words[0])
        raise UsageError(f"no pair matches {words[0]}" + (f"; did you mean {meant}?" if meant else ""))
    fields: tuple[str, ...] = type(rows[0]).__match_args__ if rows else ()
    table = [[getattr(row, name) for name in fields] for row in rows]
    if context.output == "json":
        write_json(
            context,
            (
                {name: value for name, value in zip(fields, row, strict=True) if value is not None}
                for row in table
            ),
        )
    elif context.output == "csv":
        write_csv(context, [list(fields), *table])
    else:
        write_table(context, [[name.replace("_", " ") for name in fields], *table])
    return 0
