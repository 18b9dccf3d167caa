"""A local model by its name, loaded by transformers: which engine runs it follows from what the checkpoint is."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import transformers

from providers.local.download import bar
from providers.local.hf.checkpoint import Checkpoint, LoadOptions, device_of, dtype_of, placed
from providers.local.hf.ctranslate2_file import WEIGHTS
from providers.local.hf.from_ctranslate2 import checkpoint_of
from providers.local.hf.licences import check_licence
from providers.local.hf.whisper import Whisper
from providers.local.loading import NotCompiled, not_told
from providers.local.models import EMBEDDED, ModelMissing, installed, locate, or_installed
from providers.local.names import is_path
from providers.local.whereabouts import checkpoint_folder, on_hub

if TYPE_CHECKING:
    from collections.abc import Mapping

    from providers.local.engine import Engine
    from providers.local.loading import Tell


class _Kind(NamedTuple):
    """How checkpoints of one model type are loaded and run."""

    model: str  # class of transformers
    engine: str  # module and what makes one there, called with a Checkpoint and the LoadOptions


_CTC: Final = _Kind("AutoModelForCTC", "providers.local.hf.ctc:Ctc")
_TRANSDUCER: Final = "providers.local.hf.transducer:Transducer"
_MOONSHINE: Final = "providers.local.hf.moonshine:Moonshine"
_SEAMLESS: Final = "providers.local.hf.seamless:Seamless"
KINDS: Final[Mapping[str, _Kind]] = {
    "whisper": _Kind("WhisperForConditionalGeneration", "providers.local.hf.whisper:Whisper"),
    "seamless_m4t": _Kind("SeamlessM4TForSpeechToText", _SEAMLESS),
    "seamless_m4t_v2": _Kind("SeamlessM4Tv2ForSpeechToText", _SEAMLESS),
    "moonshine": _Kind("MoonshineForConditionalGeneration", _MOONSHINE),
    "moonshine_streaming": _Kind("MoonshineStreamingForConditionalGeneration", _MOONSHINE),
    "cohere_asr": _Kind("CohereAsrForConditionalGeneration", "providers.local.hf.cohere:Cohere"),
    "data2vec-audio": _CTC,
    "hubert": _CTC,
    "nemotron_asr_streaming": _Kind("NemotronAsrStreamingForRNNT", _TRANSDUCER),
    "parakeet_ctc": _CTC,
    "parakeet_rnnt": _Kind("ParakeetForRNNT", _TRANSDUCER),
    "parakeet_tdt": _Kind("ParakeetForTDT", _TRANSDUCER),
    "sew": _CTC,
    "sew-d": _CTC,
    "unispeech": _CTC,
    "unispeech-sat": _CTC,
    "wav2vec2": _Kind("AutoModelForCTC", "providers.local.hf.mms:engine_of"),
    "wav2vec2-bert": _CTC,
    "wav2vec2-conformer": _CTC,
    "wavlm": _CTC,
}
"""By `model_type` in config.json."""


def load(native_model: str, options: LoadOptions, tell: Tell = not_told) -> Engine:
    """Return the model, ready to hear. Blocking: it may be downloaded, and be compiled. Raises ModelMissing.

    native_model: an embedded model, the path of a folder, or a Hub id with a revision after @ where one is wanted. A
    folder may hold a transformers checkpoint or a CTranslate2 Whisper model. tell: of a download, and of what was to be
    compiled and cannot be.
    """
    engine = _engine_of(native_model, options, tell)
    if options.compile and (reason := _uncompiled(engine)):
        tell(NotCompiled(reason))
    return engine


def _uncompiled(engine: Engine) -> str | None:
    """Compile it; return why it is not."""
    return engine.compile() if isinstance(engine, Whisper) else "models of this kind are run as they are"


def _engine_of(native_model: str, options: LoadOptions, tell: Tell) -> Engine:
    if native_model == EMBEDDED or native_model in installed():
        return Whisper(checkpoint_of(Path(locate(native_model)), native_model, options), options)
    check_licence(native_model, non_commercial=options.non_commercial)
    if not is_path(native_model):
        return _loaded(*on_hub(native_model), native_model, options, tell)
    folder = checkpoint_folder(native_model)
    if (folder / WEIGHTS).is_file():
        return Whisper(checkpoint_of(folder, native_model, options), options)
    return _loaded(str(folder), None, native_model, options, tell)


def _loaded(source: str, revision: str | None, name: str, options: LoadOptions, tell: Tell) -> Engine:
    """Return the engine for a checkpoint of transformers. Raises ModelMissing."""
    device = device_of(options)
    try:
        config = transformers.AutoConfig.from_pretrained(source, revision=revision)
    except Exception as error:  # the Hub's client and transformers raise a dozen unrelated classes here
        raise _missing(name, error) from error
    kind = KINDS.get(config.model_type)
    if kind is None:
        raise ModelMissing(f"{name!r} is a model of type {config.model_type}; run here are {', '.join(sorted(KINDS))}")
    try:
        model = getattr(transformers, kind.model).from_pretrained(
            source, revision=revision, dtype=dtype_of(options, device), tqdm_class=bar(tell)
        )
        checkpoint = Checkpoint(
            name=name,
            model=placed(model, options),
            tokenizer=transformers.AutoTokenizer.from_pretrained(source, revision=revision),
            features=transformers.AutoFeatureExtractor.from_pretrained(source, revision=revision),
        )
    except ModelMissing:
        raise
    except Exception as error:  # as above
        raise _missing(name, error) from error
    return _engine(kind)(checkpoint, options)  # type: ignore[no-any-return] # found by its name


def _engine(kind: _Kind) -> Any:  # noqa: ANN401 - found by its name
    module, _, name = kind.engine.partition(":")
    return getattr(import_module(module), name)


def _missing(name: str, error: Exception) -> ModelMissing:
    said = str(error).strip().splitlines() or [type(error).__name__]
    return ModelMissing(
        f"the local model {name!r} cannot be loaded: give the path of a transformers checkpoint, or a Hugging Face id "
        f"that this machine can download or has in its cache, while HF_HUB_OFFLINE is not set{or_installed(name)} "
        f"({said[0][:200]})"
    )
