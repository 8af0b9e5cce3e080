"""Finished parts of a training on disk, so that one broken off goes on from the last of them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


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
            error.add_note(
                f"{path} is corrupt or was not written by vgfm_sc. Delete it to have that part computed again."
            )
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
