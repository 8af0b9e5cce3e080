"""Where to compute."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def choose(device: str) -> torch.device:
    """``"auto"``: cuda, else mps, else cpu; anything else as torch names it, if this machine has it."""
    if not isinstance(device, str):
        msg = f"device must be a string, got {type(device).__name__}."
        raise TypeError(msg)
    available = ["cpu"]
    if torch.backends.mps.is_available():
        available.insert(0, "mps")
    if torch.cuda.is_available():
        available.insert(0, "cuda")
    if device == "auto":
        return torch.device(available[0])
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        msg = f"Unknown device {device!r}. Available here: {['auto', *available]}."
        raise ValueError(msg) from error
    if chosen.type not in available or (chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count()):
        msg = f"Device {device!r} is not available. Available here: {['auto', *available]}."
        raise ValueError(msg)
    return chosen


@contextmanager
def telling_what_to_lower() -> Iterator[None]:
    """Training that runs out of a device's memory, as torch tells it, says which settings take less."""
    try:
        yield
    except RuntimeError as error:
        # mps raises no class of its own, and torch before 2.5 has the name under torch.cuda alone
        if isinstance(error, torch.cuda.OutOfMemoryError) or "out of memory" in str(error):
            note = 'The memory of the device is full. Lower fit_cells, match_size or width, or choose device="cpu".'
            error.add_note(note)
        raise
