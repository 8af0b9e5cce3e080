"""Where to compute, and with how many threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

PER_THREAD = 2**19
"""Numbers in an operation that are worth a thread of their own. Threads wait for each other after every operation,
busily, and beside another process that has the processor they wait for long."""


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


LOWER = {
    "coupling": (
        "while coupling two time points. Lower eps, for example method=vgfm_sc.methods.vgfm(eps=0.001), couple smaller "
        "parts (lower vgfm_sc.core.transport.entropic.MOST_PAIRS['cuda'])"
    ),
    "training": "in training. Lower fit_cells, match_size or width",
    "following": "while following cells. Ask for fewer cells or times",
}
"""What takes less memory, by where it ran out."""


@contextmanager
def telling_what_to_lower(where: str) -> Iterator[None]:
    """Where a device's memory runs out, as torch tells it, the error says what takes less ``where`` that was."""
    try:
        yield
    except RuntimeError as error:
        # mps raises no class of its own, and torch before 2.5 has the name under torch.cuda alone
        if isinstance(error, torch.cuda.OutOfMemoryError) or "out of memory" in str(error):
            if not getattr(error, "__notes__", None):  # the innermost knows best
                error.add_note(f'The memory of the device ran out {LOWER[where]}, or choose device="cpu".')
        raise


@contextmanager
def threads_for(numbers: int) -> Iterator[int]:
    """As many of torch's threads as operations on so many ``numbers`` are worth; those of before afterwards.

    Yields how many threads may compute side by side, each with so many of torch's.
    """
    before = torch.get_num_threads()
    worth = max(1, min(before, numbers // PER_THREAD))
    if worth == before:
        yield 1
        return
    torch.set_num_threads(worth)
    try:
        yield before // worth
    finally:
        torch.set_num_threads(before)
