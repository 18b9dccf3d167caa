"""The built-in catalog: what is known of models without being told."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files

import yaml
from pydantic import BaseModel, ConfigDict, Field


class Price(BaseModel):
    """What a minute of audio costs, and who says so."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    usd_per_minute: float = Field(ge=0)
    source: str
    date: str  # year and month


class Catalog(BaseModel):
    """Canonical model names, each provider's own ids for them, and prices."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    models: Mapping[str, Mapping[str, str]]  # canonical name -> adapter -> native id
    other_ids: Mapping[str, Mapping[str, str]]  # adapter -> native id -> canonical name
    prices: Mapping[str, Mapping[str, Price]]  # adapter -> native id -> price

    def price(self, adapter: str, native_model: str) -> float | None:
        """Return US dollars per minute of audio, or None where it is not known."""
        price = self.prices.get(adapter, {}).get(native_model)
        return price.usd_per_minute if price else None

    def canonical(self, adapter: str, native_model: str) -> str | None:
        """Return the canonical name of a provider's own id; of `owner/name:version`, either half will do."""
        ids = {ids[adapter]: name for name, ids in self.models.items() if adapter in ids}
        known = {**ids, **self.other_ids.get(adapter, {})}
        return next((name for native_id, name in known.items() if _is_meant(native_id, native_model)), None)


def _is_meant(native_id: str, given: str) -> bool:
    return bool(given) and given in {native_id, *native_id.split(":")}


def load_catalog() -> Catalog:
    """Read the catalog that comes with this package."""
    return Catalog.model_validate(yaml.safe_load(files("config").joinpath("catalog.yaml").read_text()))
