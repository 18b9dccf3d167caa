"""The dashboards as Grafana reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.grafana.source import caller, cost, local, overview, provider

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER: Final = Path(__file__).parents[1] / "dashboards"
_BOARDS: Final = {
    "overview": overview.build,
    "provider": provider.build,
    "caller": caller.build,
    "cost": cost.build,
    "local": local.build,
}


def written() -> Mapping[str, str]:
    """Return each file's text by its name."""
    return {
        f"{name}.json": json.dumps(build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"
        for name, build in _BOARDS.items()
    }
