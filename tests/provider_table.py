"""The README's table of providers, from their capabilities. Run `python -m tests.provider_table` to renew it."""

from __future__ import annotations

import re
from pathlib import Path

from config.catalog import load_catalog
from gateway.abilities import HEADINGS, listed

README = Path(__file__).parents[1] / "README.md"
_BETWEEN = re.compile(r"(<!-- providers:[^\n]*-->\n).*?(<!-- /providers -->)", re.DOTALL)


def table() -> str:
    """Return the table, a line for each native model of the catalog and one for each provider without any there."""
    rows = [
        (f"`{each.provider}`", f"`{each.name}`" if each.native_model else each.name, *each.in_words())
        for each in listed(load_catalog())
    ]
    lines = [_line(HEADINGS), "|" + "---|" * len(HEADINGS), *map(_line, rows)]
    return "\n".join(lines) + "\n"


def renewed(text: str) -> str:
    """Return the README with the table as it should be."""
    return _BETWEEN.sub(lambda match: f"{match[1]}{table()}{match[2]}", text)


def _line(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    README.write_text(renewed(README.read_text()))
