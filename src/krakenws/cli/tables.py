"""What tools print: things with the same fields each, as JSON, CSV or a table for eyes."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from krakenws.cli.context import Context


def write_json(context: Context, items: Iterable[object], indent: int | None = None) -> None:
    """Write a line of JSON for each item, or with `indent` more of them."""
    from json import dumps

    separators = (",", ":") if indent is None else (",", ": ")
    lines = [dumps(item, separators=separators, indent=indent, ensure_ascii=False) for item in items]
    context.out.write("".join(f"{line}\n" for line in lines).encode())


def write_fields(context: Context, rows: Sequence[Mapping[str, object]]) -> None:
    """Write things with the same fields each: as JSON, CSV or a table."""
    table: list[list[object]] = [[*row.values()] for row in rows]
    if context.output == "json":
        write_json(context, rows)
    elif context.output == "csv":
        write_csv(context, [[*rows[0]], *table] if rows else [])
    elif rows:
        write_table(context, [[name.replace("_", " ") for name in rows[0]], *table])


def write_csv(context: Context, table: list[list[object]]) -> None:
    """Write rows, the header first."""
    from csv import writer
    from io import StringIO

    text = StringIO()
    writer(text, lineterminator="\n").writerows(
        ["" if cell is None else cell for cell in row] for row in table
    )
    context.out.write(text.getvalue().encode())


def write_table(context: Context, table: list[list[object]]) -> None:
    """Write columns for eyes, numbers to the right."""
    cells = [["" if cell is None else str(cell) for cell in row] for row in table]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    is_number = [
        all(row[i].replace(".", "").isdigit() or not row[i] for row in cells[1:]) for i in range(len(widths))
    ]
    lines = (
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, is_number, strict=True)
        )
        for row in cells
    )
    context.out.write("".join(line.rstrip() + "\n" for line in lines).encode())
