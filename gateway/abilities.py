"""What a provider's model can do, in a few words: for people who choose one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from providers.registry import PROVIDERS
from providers.types import GENERATION_NAMES, Account, Deployment, Task

if TYPE_CHECKING:
    from collections.abc import Iterator

    from config.catalog import Catalog, Price
    from providers.types import Capabilities

HEADINGS = ("provider", "model there", "parameters honoured", "times", "besides", "takes at most")
_HASH = re.compile(r":[0-9a-f]{32,}$")
_ALL = frozenset(GENERATION_NAMES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One model of one provider."""

    provider: str
    native_model: str  # "": the provider has none in the catalog, and takes any
    can: Capabilities
    price: Price | None

    @property
    def name(self) -> str:
        """What people call it: of "owner/name:hash" the name alone, as nobody reads a hash."""
        return _HASH.sub("", self.native_model) or "any"

    def in_words(self) -> tuple[str, str, str, str]:
        """Return what stands under the last four headings."""
        return _parameters(self.can), _times(self.can), _besides(self.can), _limits(self.can)


def listed(catalog: Catalog) -> Iterator[Listed]:
    """Yield each provider's models of the catalog, and one without a name for a provider that has none there."""
    for name in sorted(PROVIDERS):
        for native in catalog.native_models(name) or [""]:
            account = Account(name=name, adapter=name, base_urls={"api": "http://any", **PROVIDERS[name].base_urls})
            can = PROVIDERS[name].capabilities(Deployment(account=account, native_model=native))
            yield Listed(provider=name, native_model=native, can=can, price=catalog.price(name, native))


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
    length = _length(can.max_duration_s) if can.max_duration_s else ""
    return ", ".join(filter(None, (size, length))) or "-"


def _length(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 60 else f"{seconds / 60:.0f} min"
