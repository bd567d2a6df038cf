"""`krakenws catalog`: every channel and command, and the schema of every event."""

from __future__ import annotations

from krakenws.cli.help import of_entry
from krakenws.cli.parser import entries, look_up
from krakenws.cli.tables import write_csv, write_json, write_table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from krakenws.cli.context import Context
    from krakenws.core.catalog import Entry


def run(context: Context, words: Sequence[str]) -> int:
    """Describe the entries named, or all; return the exit code.

    Raises:
        UsageError: there is no such entry.
    """
    if context.settings.get("schema"):
        from krakenws.core.schema import schema

        write_json(context, [schema(entries())], indent=2)
        return 0
    chosen = entries()
    if words:
        api = context.settings.get("api")
        found = [look_up(word, api if isinstance(api, int) else None)[0] for word in words]
        chosen = tuple(entry for entry in found if entry is not None)
    columns: list[object] = ["name", "api", "kind", "access", "parameters"]
    if context.output == "json":
        write_json(context, map(_entry_fields, chosen))
    elif context.output == "csv":
        rows = ([e.name, e.api, e.kind, e.access, " ".join(p.name for p in e.params)] for e in chosen)
        write_csv(context, [columns, *rows])
    elif words:
        context.out.write("\n".join(of_entry("krakenws", entry) for entry in chosen).encode())
    else:
        write_table(context, [columns, *(row for e in chosen for row in _entry_rows(e))])
    return 0


def _entry_rows(entry: Entry) -> list[list[object]]:
    """Its parameters stand in one column, on as many lines as they need."""
    from textwrap import wrap

    first, *more = wrap(" ".join(param.name for param in entry.params), 54, break_on_hyphens=False) or [""]
    rows: list[list[object]] = [[entry.name, f"v{entry.api}", entry.kind, entry.access, first]]
    rows += [["", "", "", "", line] for line in more]
    return rows


def _entry_fields(entry: Entry) -> dict[str, object]:
    return {
        "name": entry.name,
        "api": entry.api,
        "kind": entry.kind,
        "access": entry.access,
        "help": entry.help,
        "params": [
            {
                "name": param.name,
                "kind": param.kind.word,
                "help": param.help,
                "required": param.required,
                **({"choices": list(param.choices)} if param.choices else {}),
                **({"default": param.default} if param.default is not None else {}),
                "schema": dict(param.kind.schema),
            }
            for param in entry.params
        ],
        "examples": list(entry.examples),
        "notes": list(entry.notes),
        "source": entry.source,
    }
