"""Local models of this process, and the engines below them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from providers.local.provider import LocalModel

if TYPE_CHECKING:
    from collections.abc import Callable

    from config.settings import AccountSettings
    from providers.local.engine import Engine
    from providers.types import Deployment


def load_here(
    deployment: Deployment, account: AccountSettings, *, on_batch: Callable[[str, int, float], None]
) -> LocalModel:
    """Return a local model in this process, not yet loaded."""
    return LocalModel(
        deployment.native_model,
        partial(load_engine, account),
        made_for=account,
        max_batch=account.max_batch,
        max_wait_s=account.max_wait,
        max_queue=account.max_queue,
        on_batch=on_batch,
    )


def load_engine(account: AccountSettings, native_model: str) -> Engine:
    """Load a local model. Raises ModelMissing, also where the engine is not installed."""
    from providers.local.models import ModelMissing  # noqa: PLC0415 - an optional extra

    try:
        from providers.local.faster_whisper import FasterWhisper  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise ModelMissing('local models need an extra: pip install "asr-gateway[local]", or [demo]') from error
    return FasterWhisper(native_model, device=account.device, compute_type=account.compute_type)
