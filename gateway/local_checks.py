"""Local models of this machine, looked for: whether their files and the libraries that hear them are there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.engines import engines_for, is_installed, wants_extra
from gateway.found import HERE, MISSING, NOT_TRIED, Found
from providers.local.hf.licences import check_licence
from providers.local.models import EMBEDDED, ModelMissing, installed
from providers.local.names import TRANSFORMERS, known_as
from providers.local.whereabouts import Place, whereabouts

if TYPE_CHECKING:
    from config.settings import AccountSettings
    from providers.types import Deployment


def look_for(deployment: Deployment, account: AccountSettings) -> Found:
    """Tell which engine would hear a model, and from where. Nothing is loaded or fetched. Blocking."""
    places: dict[str, Place] = {}
    reasons: list[str] = []
    for engine in engines_for(deployment.native_model, account.engine):
        try:
            places[engine] = _place(engine, deployment.native_model, account)
        except ModelMissing as missing:
            reasons.append(str(missing))
    outcome, reason = _of_places(places) if places else (MISSING, reasons[0])
    return Found(deployment=deployment, outcome=outcome, reason=reason, seconds=None)


def _place(engine: str, native_model: str, account: AccountSettings) -> Place:
    """Return where the engine would find it. Raises ModelMissing."""
    if not is_installed(engine):
        raise wants_extra(engine)
    name = known_as(native_model).get(engine, native_model)
    if engine == TRANSFORMERS and name not in {EMBEDDED, *installed()}:
        check_licence(name, non_commercial=account.non_commercial)
    return whereabouts(engine, name)


def _of_places(places: dict[str, Place]) -> tuple[str, str]:
    """Return the outcome and its reason. The quicker engine loads it; another does when a job needs it."""
    engine, place = next(iter(places.items()))
    besides = "".join(f", or {other}" for other in places if other != engine)
    said = f"{engine}{besides} would hear it, from {place.in_words}"
    return (HERE, f"{said}; loading it is not tried") if place.is_here else (NOT_TRIED, said)
