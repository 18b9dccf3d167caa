"""Local models of this process, and the engines below them."""

from __future__ import annotations

import time
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, NamedTuple
from weakref import WeakValueDictionary

from config.local import EngineName, When
from gateway.policies.landmarks import NONE_YET, is_landmark
from providers.local.either import EitherModel
from providers.local.loading import Download, NotCompiled, not_told
from providers.local.models import ModelMissing
from providers.local.names import FASTER_WHISPER, TRANSFORMERS, assumed, known_as, weights_bytes
from providers.local.provider import MAX_BATCH, LocalModel
from providers.local.shelf import Shelf, ShelvedModel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from config.settings import AccountSettings
    from gateway.fleet import LocalBackend
    from providers.local.engine import Engine
    from providers.local.loading import Tell
    from providers.types import Deployment

_LIBRARIES: Final = {FASTER_WHISPER: "faster_whisper", TRANSFORMERS: "transformers"}


class Loaded(NamedTuple):
    """What loading a model took."""

    seconds: float
    size_bytes: int  # of memory


class LocalModels:
    """Makes local models of this process, not yet loaded; those of one account share its memory."""

    def __init__(
        self,
        *,
        on_batch: Callable[[str, int, float], None],
        on_load: Callable[[str, str, Download | NotCompiled | Loaded | ModelMissing | None], None] = lambda *_: None,
        on_download: Callable[[str, Download | None], None] = lambda *_: None,
    ) -> None:
        """on_batch: as LocalModel tells it.

        on_load: told a model and its engine when loading begins, with None, how far a long download is, that it
        cannot be compiled, and how it ended; in a thread that does it. on_download: told each step of a model's
        download, and None when it is over.
        """
        self._on_batch = on_batch
        self._on_load = on_load
        self._on_download = on_download
        self._shelves: WeakValueDictionary[tuple[str, str], Shelf] = WeakValueDictionary()

    def __call__(self, deployment: Deployment, account: AccountSettings) -> LocalBackend:
        """Return the deployment's model, in every engine that may be asked for it."""
        shelf = self._shelf(deployment.account.name, account)
        halves = [
            self._shelved(deployment.native_model, engine, account, shelf, at_start=not later)
            for later, engine in enumerate(engines_for(deployment.native_model, account.engine))
        ]
        return halves[0] if len(halves) == 1 else EitherModel(*halves, made_for=account)

    def _shelf(self, name: str, account: AccountSettings) -> Shelf:
        """Return the account's own, for as long as there is one of its models; another where its settings changed."""
        key = name, account.model_dump_json()  # a reload that is refused must leave the one before
        shelf = self._shelves.get(key)
        if shelf is None:
            shelf = self._shelves[key] = Shelf(account.memory_budget)
        return shelf

    def _shelved(
        self, native_model: str, engine: str, account: AccountSettings, shelf: Shelf, *, at_start: bool
    ) -> ShelvedModel:
        made = partial(
            LocalModel,
            native_model,
            partial(self._load, account, engine),
            max_batch=account.max_batch or MAX_BATCH,
            max_wait_s=account.max_wait,
            max_queue=account.max_queue,
            on_batch=self._on_batch,
        )
        return ShelvedModel(
            native_model,
            made,
            shelf,
            assumed=None if at_start and account.load is When.START else assumed(native_model),
            expected_bytes=weights_bytes(native_model),
            made_for=account,
        )

    def _load(self, account: AccountSettings, engine: str, native_model: str) -> Engine:
        """Load a local model and tell of it. Raises ModelMissing."""
        self._on_load(native_model, engine, None)
        began_s = time.monotonic()
        try:
            loaded = load_engine(account, engine, native_model, self._watched(native_model, engine))
        except ModelMissing as missing:
            self._on_load(native_model, engine, missing)
            raise
        finally:
            self._on_download(native_model, None)
        self._on_load(native_model, engine, Loaded(time.monotonic() - began_s, loaded.size_bytes))
        return loaded

    def _watched(self, native_model: str, engine: str) -> Tell:
        """Return what is told how far a download is, and passes its landmarks on as what is to be read."""
        last_share, last_s = NONE_YET, time.monotonic()

        def tell(now: Download | NotCompiled) -> None:
            nonlocal last_share, last_s
            if isinstance(now, NotCompiled):
                self._on_load(native_model, engine, now)
                return
            self._on_download(native_model, now)
            now_s = time.monotonic()
            if is_landmark(now.share, last_share, now_s - last_s):
                last_share, last_s = now.share, now_s
                self._on_load(native_model, engine, now)

        return tell


def engines_for(native_model: str, wanted: EngineName = EngineName.AUTO) -> tuple[str, ...]:
    """Return the engines that may be asked for a model, the quicker first: what is installed, else the likeliest."""
    if wanted is not EngineName.AUTO:
        return (wanted.value,)
    able = tuple(known_as(native_model))
    return tuple(filter(is_installed, able)) or able[:1]


def load_engine(account: AccountSettings, engine: str, native_model: str, tell: Tell = not_told) -> Engine:
    """Load a local model. Raises ModelMissing, also where the engine is not installed. tell: of a download."""
    name = known_as(native_model).get(engine, native_model)
    try:
        return _LOADERS[engine](name, account, tell)
    except ImportError as error:
        raise wants_extra(engine) from error


def is_installed(engine: str) -> bool:
    """Tell whether an engine's library is there; it is not imported."""
    return find_spec(_LIBRARIES[engine]) is not None


def wants_extra(engine: str) -> ModelMissing:
    """Say what to install where it is not."""
    extra = "local" if engine == FASTER_WHISPER else "transformers"
    demo = ", or [demo]" if engine == FASTER_WHISPER else ""
    return ModelMissing(f'local models need an extra: pip install "asr-gateway[{extra}]"{demo}')


def _faster_whisper(name: str, account: AccountSettings, tell: Tell) -> Engine:
    from providers.local.faster_whisper import FasterWhisper  # noqa: PLC0415 - an optional extra

    return FasterWhisper(
        name, device=account.device, compute_type=account.compute_type, max_rows=account.max_batch, tell=tell
    )


def _transformers(name: str, account: AccountSettings, tell: Tell) -> Engine:
    from transformers.utils.logging import disable_progress_bar  # noqa: PLC0415 - an optional extra

    from providers.local.hf.checkpoint import LoadOptions  # noqa: PLC0415
    from providers.local.hf.load import load  # noqa: PLC0415

    disable_progress_bar()  # it would be drawn between the lines of the log
    options = LoadOptions(
        device=account.device,
        dtype=account.dtype.value,
        attention=account.attention,
        compile=account.compile,
        language=account.language,
        non_commercial=account.non_commercial,
    )
    return load(name, options, tell)


_LOADERS: Final[Mapping[str, Callable[[str, AccountSettings, Tell], Engine]]] = {
    FASTER_WHISPER: _faster_whisper,
    TRANSFORMERS: _transformers,
}
