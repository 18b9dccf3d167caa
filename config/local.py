"""How models on this machine are run."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from config.section import Section
from config.units import Bytes, SecondsOrNone


class EngineName(StrEnum):
    """What runs a local model."""

    AUTO = "auto"  # faster-whisper for what it can do, transformers for the rest, where both are installed
    FASTER_WHISPER = "faster-whisper"  # CTranslate2: the fastest for Whisper
    TRANSFORMERS = "transformers"  # any speech model of the Hub, and every generation parameter


class When(StrEnum):
    """When a local model is loaded."""

    START = "start"  # before the gateway is ready
    USE = "use"  # when it is first asked for


class Dtype(StrEnum):
    """What a model of transformers counts in."""

    AUTO = "auto"  # float32 on a CPU, bfloat16 on a GPU that counts in it, else float16
    FLOAT32 = "float32"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"


class LocalSettings(Section):
    """What an account of the adapter local has besides."""

    engine: EngineName = EngineName.AUTO  # adapter: local; what runs its models
    device: str = Field("auto", pattern=r"^(auto|cpu|mps|cuda(:\d{1,2})?)$")  # adapter: local; auto: a GPU, if any
    compute_type: str = "default"  # adapter: local; a CTranslate2 type such as int8 or float16
    dtype: Dtype = Dtype.AUTO  # adapter: local; what transformers counts in
    attention: str = Field("auto", pattern=r"^[a-z0-9_]{1,40}$")  # adapter: local; transformers' sdpa, eager, …
    compile: bool = False  # adapter: local; Whisper's torch.compile: minutes more to load, for a GPU
    language: str | None = Field(None, pattern=r"^[a-z]{2,3}$")  # adapter: local; for models that cannot tell which
    load: When = When.START  # adapter: local; when its models are loaded
    memory_budget: Bytes | None = None  # adapter: local; of its models together: who was used longest ago makes room
    max_batch: int | None = Field(
        None, ge=1, le=1024
    )  # adapter: local; rows heard together; None: by engine and device
    max_wait: SecondsOrNone = 0.02  # adapter: local; for others to come, where a batch has room
    max_queue: int | None = Field(None, ge=1, le=100_000)  # adapter: local; jobs waiting or heard; None: by what fits
    non_commercial: bool = False  # adapter: local; whether models may be loaded that are licensed for that alone
