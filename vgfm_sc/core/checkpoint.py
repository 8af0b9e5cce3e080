"""Finished parts of a training on disk, so that one broken off goes on from the last of them."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

DIGITS = 16
"""Of the hash in a file's name: 64 bits tell apart all trainings that will ever share a folder."""


def fingerprint(arrays: Iterable[np.ndarray], settings: Mapping[str, Any]) -> str:
    """Differs when any number that training depends on does; floats count to the last digit."""
    digest = hashlib.sha256(repr(sorted(settings.items())).encode())
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).view(np.uint8).data)
    return digest.hexdigest()[:DIGITS]


class Checkpoint:
    """The finished parts of the training called ``name``, each a file of arrays in ``folder``.

    A part appears under its name when it is whole, or not at all.
    """

    def __init__(self, folder: Path, name: str):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.name = folder, name

    def read(self, part: str) -> dict[str, np.ndarray] | None:
        """The arrays of ``part``; `None` if it has not been finished."""
        path = self._path(part)
        if not path.exists():
            return None
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                return dict(stored)
        except Exception as error:
            error.add_note(f"{path} is not whole or not ours. Delete it: that part is done anew.")
            raise

    def write(self, part: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Keep ``part``, under its name only once all of it is on disk."""
        handle, half = tempfile.mkstemp(dir=self.folder, prefix=f"{self.name}-{part}-", suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                np.savez(file, **dict[str, Any](arrays))
                file.flush()
                os.fsync(file.fileno())
            os.replace(half, self._path(part))
        except BaseException:
            Path(half).unlink(missing_ok=True)
            raise

    def _path(self, part: str) -> Path:
        return self.folder / f"{self.name}-{part}.npz"
