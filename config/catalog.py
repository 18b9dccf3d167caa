"""The built-in catalog: what is known of models without being told."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from importlib.resources import files

import yaml
from pydantic import BaseModel, ConfigDict, Field


class Price(BaseModel):
    """What a minute of audio costs, and who says so."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    usd_per_minute: float = Field(ge=0)
    usd_per_request: float = Field(0, ge=0)
    minimum_s: float = Field(0, ge=0)  # what the shortest clip is billed as
    step_s: float = Field(0, ge=0)  # what a bill is rounded up to; 0: to nothing
    source: str
    date: str  # year and month


class Catalog(BaseModel):
    """Canonical model names, each provider's own ids for them, and prices."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    models: Mapping[str, Mapping[str, str]]  # canonical name -> adapter -> native id
    other_ids: Mapping[str, Mapping[str, str]]  # adapter -> native id -> canonical name
    prices: Mapping[str, Mapping[str, Price]]  # adapter -> native id -> price

    def price(self, adapter: str, native_model: str) -> Price | None:
        """Return what a minute of audio costs, or None where it is not known. Of `model:deployment` the model tells."""
        listed = self.prices.get(adapter, {})
        return listed.get(native_model) or listed.get(native_model.partition(":")[0])

    def native_models(self, adapter: str) -> list[str]:
        """Return the provider's own ids of the models it has, in the catalog's order."""
        return [ids[adapter] for ids in self.models.values() if adapter in ids]

    def canonical(self, adapter: str, native_model: str) -> str | None:
        """Return the canonical name of a provider's own id; of `owner/name:version`, either half will do."""
        return self._canonical.get((adapter, native_model)) if native_model else None

    @cached_property
    def _canonical(self) -> Mapping[tuple[str, str], str]:
        """Canonical names by adapter and native id or a half of it; where two have the same half, the first's."""
        ids = [(adapter, given, name) for name, ids in self.models.items() for adapter, given in ids.items()]
        ids += [(adapter, given, name) for adapter, others in self.other_ids.items() for given, name in others.items()]
        known: dict[tuple[str, str], str] = {}
        for adapter, native_id, name in ids:
            for given in (native_id, *native_id.split(":")):
                known.setdefault((adapter, given), name)
        return known


def load_catalog() -> Catalog:
    """Read the catalog that comes with this package."""
    return Catalog.model_validate(yaml.safe_load(files("config").joinpath("catalog.yaml").read_text()))
