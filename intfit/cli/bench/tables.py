"""Tables that benches print row by row: in columns for a terminal, or as Markdown."""

from collections.abc import Sequence
from typing import Annotated

from ..options import MESSAGES, option
from ..report import print_data

Markdown = Annotated[
    bool, option("--markdown", panel=MESSAGES, text="Tables as Markdown, to paste.")
]


def print_title(text: str, *, markdown: bool) -> None:
    """Print a line above a table, or below one."""
    if markdown:
        print_data()  # Markdown takes what follows a table for a row of it
    print_data(text)


class Table:
    """Prints each row as it comes: the first cell to the left, the others to the right.

    Columns are ``widths`` wide, whatever their cells; ``indent`` spaces come before them.
    ``markdown`` prints rows between bars, without either.
    """

    def __init__(self, widths: Sequence[int], *, indent: int = 2, markdown: bool = False) -> None:
        self._widths, self._indent, self._markdown = widths, indent, markdown

    def head(self, *cells: str) -> None:
        """Print the names of the columns."""
        if self._markdown:
            print_data()  # Markdown takes what follows a line of text for a part of it
        self.row(*cells)
        if self._markdown:
            print_data("|---|" + "---:|" * (len(cells) - 1))

    def row(self, *cells: str) -> None:
        """Print a row."""
        if self._markdown:
            print_data("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
            return
        first, *others = (
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(cells, self._widths, strict=False))
        )
        print_data(" " * self._indent + first + "".join(others))


def print_table(rows: Sequence[Sequence[str]], *, markdown: bool = False) -> None:
    """Print rows, the names of the columns first, in columns as wide as their widest cells."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    table = Table([widths[0], *(width + 2 for width in widths[1:])], markdown=markdown)
    table.head(*rows[0])
    for row in rows[1:]:
        table.row(*row)
