"""Where to compute."""

from __future__ import annotations

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
