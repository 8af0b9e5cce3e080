"""What a training has done, on disk: finished parts, and how far the next has come, so that it can go on from there."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from torch import Tensor

SAVE_EVERY = 30.0
"""Seconds between writes of a stage that is under way: more than a thousand times what one takes."""


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

    def remove(self, part: str) -> None:
        """Forget ``part``, if it is there."""
        self._path(part).unlink(missing_ok=True)

    def _path(self, part: str) -> Path:
        return self.folder / f"{self.name}-{part}.npz"


class Underway:
    """How far a stage has come, kept in ``checkpoint`` until the stage is done; nowhere without one.

    While it is entered, the state that was `reached` last is written every `SAVE_EVERY` seconds and on an interrupt.
    Until then it is held in memory: an interrupt may come in the middle of a step. ``found``: what an earlier call
    wrote.
    """

    def __init__(self, checkpoint: Checkpoint | None, stage: str):
        self._checkpoint, self._part = checkpoint, f"{stage}-underway"
        self.found = None if checkpoint is None else checkpoint.read(self._part)
        self._last: dict[str, Any] = {}
        self._written = time.monotonic()

    def reached(self, state: Mapping[str, Any]) -> None:
        """Take a copy of ``state``, tensors and numbers, from which the stage can go on."""
        if self._checkpoint is None:
            return
        self._last = {k: part.clone() if isinstance(part, Tensor) else np.array(part) for k, part in state.items()}
        if time.monotonic() - self._written >= SAVE_EVERY:
            self._write()

    def done(self) -> None:
        """Remove what was written: the stage is kept as a finished part."""
        if self._checkpoint is not None:
            self._checkpoint.remove(self._part)

    def _write(self) -> None:
        if self._checkpoint is not None and self._last:
            arrays = {k: part.cpu().numpy() if isinstance(part, Tensor) else part for k, part in self._last.items()}
            self._checkpoint.write(self._part, arrays)
            self._written = time.monotonic()

    def __enter__(self) -> Underway:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is not None and issubclass(kind, KeyboardInterrupt | SystemExit):
            self._write()


NOWHERE = Underway(None, "")
"""For stages whose state nobody keeps."""
