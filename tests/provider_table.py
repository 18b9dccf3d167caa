"""The README's table of providers, from their capabilities. Run `python -m tests.provider_table` to renew it."""

from __future__ import annotations

import re
from pathlib import Path

from config.catalog import load_catalog
from providers.registry import PROVIDERS
from providers.types import GENERATION_NAMES, Account, Capabilities, Deployment, Task

README = Path(__file__).parents[1] / "README.md"
_BETWEEN = re.compile(r"(<!-- providers:[^\n]*-->\n).*?(<!-- /providers -->)", re.DOTALL)
_ALL = frozenset(GENERATION_NAMES)


def table() -> str:
    """Return the table, a line for each native model of the catalog and one for each provider without any there."""
    lines = [
        "| provider | model there | parameters honoured | times | besides | takes at most |",
        "|---|---|---|---|---|---|",
    ]
    catalog = load_catalog()
    for name in sorted(PROVIDERS):
        natives = [ids[name] for ids in catalog.models.values() if name in ids] or [""]
        lines += [_line(name, native) for native in natives]
    return "\n".join(lines) + "\n"


def renewed(text: str) -> str:
    """Return the README with the table as it should be."""
    return _BETWEEN.sub(lambda match: f"{match[1]}{table()}{match[2]}", text)


def _line(name: str, native: str) -> str:
    account = Account(name=name, adapter=name, base_urls={"api": "http://any", **PROVIDERS[name].base_urls})
    can = PROVIDERS[name].capabilities(Deployment(account=account, native_model=native))
    shown = f"`{native.partition(':')[0]}`" if native else "any"
    cells = (f"`{name}`", shown, _parameters(can), _times(can), _besides(can), _limits(can))
    return f"| {' | '.join(cells)} |"


def _parameters(can: Capabilities) -> str:
    if can.generation == _ALL:
        return "all"
    return ", ".join(sorted(can.generation)) or "none"


def _times(can: Capabilities) -> str:
    return ", ".join(sorted(each.value for each in can.timestamps)) or "none"


def _besides(can: Capabilities) -> str:
    extras = (
        ("translation", Task.TRANSLATE in can.tasks),
        ("prompt", can.prompt),
        ("speakers", can.diarize),
        (f"until {can.retires_on}", can.retires_on is not None),
    )
    return ", ".join(word for word, has in extras if has) or "-"


def _limits(can: Capabilities) -> str:
    size = f"{can.max_bytes / (1 << 20):.0f} MiB" if can.max_bytes else ""
    length = f"{can.max_duration_s / 60:.0f} min" if can.max_duration_s else ""
    return ", ".join(filter(None, (size, length))) or "-"


if __name__ == "__main__":
    README.write_text(renewed(README.read_text()))
