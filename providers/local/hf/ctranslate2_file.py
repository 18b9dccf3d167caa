"""CTranslate2's file of weights, read where it lies.

Source: OpenNMT/CTranslate2 4.8 `python/ctranslate2/specs/model_spec.py` (`ModelSpec._serialize`).
"""

from __future__ import annotations

import mmap
import struct
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    Variables = Mapping[str, NDArray[Any]]

WEIGHTS: Final = "model.bin"
_VERSIONS: Final = range(4, 7)  # of the file's layout, those that are alike
_BFLOAT16: Final = 5
_TYPES: Final[Mapping[int, Any]] = {
    0: np.float32,
    1: np.int8,
    2: np.int16,
    3: np.int32,
    4: np.float16,
    _BFLOAT16: np.uint16,  # numpy has none
}


def read_variables(path: Path) -> tuple[str, Variables]:
    """Return the name of the model's kind and its variables, each as it is stored; they are read when they are used.

    Little endian: version, kind, revision, number of variables; of each its name, shape, type, size and bytes; aliases.
    Raises OSError, ValueError, struct.error.
    """
    with path.open("rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    reader = _Reader(data)
    version = reader.number("I")
    if version not in _VERSIONS:
        raise ValueError(f"version {version} of {path.name} is not known here")
    spec, _revision = reader.text(), reader.number("I")
    variables = dict(reader.variable() for _ in range(reader.number("I")))
    return spec, variables


class _Reader:
    """A position in the file."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._at = 0

    def number(self, form: str) -> int:
        """form: B, H or I, as struct names them."""
        value: int
        (value,) = struct.unpack_from(f"<{form}", self._data, self._at)
        self._at += struct.calcsize(form)
        return value

    def text(self) -> str:
        size = self.number("H")  # with the zero byte at its end
        self._at += size
        return self._data[self._at - size : self._at - 1].decode()

    def variable(self) -> tuple[str, NDArray[Any]]:
        name = self.text()
        shape = [self.number("I") for _ in range(self.number("B"))]
        kind, size = self.number("B"), self.number("I")
        dtype = np.dtype(_TYPES[kind])
        values: NDArray[Any] = np.frombuffer(self._data, dtype, size // dtype.itemsize, self._at)
        self._at += size
        if kind == _BFLOAT16:
            values = (values.astype(np.uint32) << 16).view(np.float32)
        return name, values.reshape(shape)
