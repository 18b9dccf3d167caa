"""A model's files from the Hugging Face Hub, and how far their download is.

Source: huggingface_hub 2.4 `snapshot_download` and transformers 5.24 `from_pretrained`, which take a `tqdm_class`.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

from providers.local.loading import Download

if TYPE_CHECKING:
    from collections.abc import Mapping

    from providers.local.loading import Tell

# Where faster-whisper 1.2 has the sizes that it knows by name; its own download tells nobody how far it is.
REPOSITORIES: Final[Mapping[str, str]] = {
    **{
        size: f"Systran/faster-whisper-{size}"
        for size in ("tiny.en", "tiny", "base.en", "base", "small.en", "small", "medium.en", "medium")
    },
    **{size: f"Systran/faster-whisper-{size}" for size in ("large-v1", "large-v2", "large-v3")},
    "large": "Systran/faster-whisper-large-v3",
    **{
        f"distil-{size}": f"Systran/faster-distil-whisper-{size}"
        for size in ("small.en", "medium.en", "large-v2", "large-v3")
    },
    "distil-large-v3.5": "distil-whisper/distil-large-v3.5-ct2",
    **dict.fromkeys(("large-v3-turbo", "turbo"), "mobiuslabsgmbh/faster-whisper-large-v3-turbo"),
}
_CTRANSLATE2_FILES: Final = ("config.json", "preprocessor_config.json", "model.bin", "tokenizer.json", "vocabulary.*")


def ctranslate2_files(native_model: str, tell: Tell) -> str:
    """Return the folder with a CTranslate2 model of the Hub, downloaded unless it is in the cache. Blocking.

    native_model: a size, or a Hub id perhaps with @revision. Raises as huggingface_hub does.
    """
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - comes with the engines, which are optional

    name, _, revision = native_model.partition("@")
    return snapshot_download(
        REPOSITORIES.get(name, name),
        revision=revision or None,
        allow_patterns=list(_CTRANSLATE2_FILES),
        tqdm_class=bar(tell),
    )


def bar(tell: Tell) -> type[Any]:
    """Return a progress bar that draws nothing and tells how far one download is."""
    from tqdm.auto import tqdm  # type: ignore[import-untyped] # noqa: PLC0415 - as above

    farthest = _Farthest(tell)

    class Bar(tqdm):  # type: ignore[misc] # the library has no types
        """One of those that a download has: of a file, of all files, of their number."""

        def __init__(self, *args: object, **options: Any) -> None:  # noqa: ANN401 - as the library's
            self._is_of_bytes = options.get("unit") == "B"
            super().__init__(*args, **{**options, "disable": True})

        def update(self, n: float | None = 1) -> None:
            self.n += n or 0
            if self._is_of_bytes and self.total:
                farthest.told(int(self.n), int(self.total))

    return Bar


class _Farthest:
    """What one is told of several bars that count the same: the largest, and never less than before.

    There is one for what came from the network, one for what is written, and small files may have their own.
    """

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._last = Download(0, 0)
        self._one_at_a_time = threading.Lock()

    def told(self, received_bytes: int, whole_bytes: int) -> None:
        with self._one_at_a_time:
            now = Download(min(received_bytes, whole_bytes), whole_bytes)
            if now[::-1] <= self._last[::-1]:
                return
            self._last = now
            self._tell(now)
