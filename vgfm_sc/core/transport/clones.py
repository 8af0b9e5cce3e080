"""What lineage barcodes say of who becomes whom.

Cells of one clone have one ancestor, so a cell descends from its own clone and not from another. A pair of cells from
one clone costs less than one of which nothing is known, a pair from two clones more; it is not ruled out, because a
barcode may be read wrongly. A clone binds where it has cells at both ends of an interval; elsewhere, and in a cell
without a barcode, nothing is known.
"""

from __future__ import annotations

import heapq

import numpy as np
import torch
from torch import Tensor

OTHER = 0.1
"""What a pair from two clones costs more, as a share of the mean squared distance of two cells: fifty times the default
``eps``, so that next to nothing is sent at equal distance, and less than the distance of a cell to another branch, so
that a cell with a wrong barcode stays where it is. With more, small clones are held to their own numbers of cells, and
growth becomes noise."""

OWN = 0.1
"""What a pair from one clone costs less. Most cells of a clone may have no barcode, and stand among those of others;
where barcodes are found more often at one end than at the other, growth is off by this share of ``rho`` at most."""

PER_PART = 10
"""Cells of a clone, at either end, that every part gets before the clone is dealt out to all of them."""

MOST_OF_PART = 0.1
"""Share of a part that a clone may fill to stay together: parts are to be alike, and none without cells."""


def binding(clones0: np.ndarray, clones1: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The clones of both snapshots, shapes ``(n,)`` and ``(m,)``, with -1 also where a clone is at one end alone."""
    shared = np.intersect1d(clones0, clones1)
    first, second = (np.where(np.isin(clones, shared), clones, -1) for clones in (clones0, clones1))
    return first, second


def costs(clones0: Tensor, clones1: Tensor, dtype: torch.dtype) -> Tensor:
    """What is added to the costs of all pairs, shape ``(n, m)``."""
    known = (clones0 >= 0)[:, None] & (clones1 >= 0)
    same = (clones0[:, None] == clones1).to(dtype)
    return same.mul_(-OWN - OTHER).add_(OTHER).mul_(known)


def kept_together(
    clones: tuple[Tensor, Tensor], n_parts: int, generator: torch.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The part of each cell of a clone that is too small to be dealt out to all, -1 of other cells: both snapshots.

    Clones come in random order, each to the part that has the smallest share of the cells so far.
    """
    codes = [part.cpu().numpy() for part in clones]
    n_clones = max(int(part.max(initial=-1)) for part in codes) + 1
    sizes = np.stack([np.bincount(part[part >= 0], minlength=n_clones) for part in codes])
    share = sizes / [[len(part)] for part in codes]
    fits = (share * n_parts <= MOST_OF_PART).all(axis=0)
    small = np.flatnonzero(sizes.all(axis=0) & (sizes < PER_PART * n_parts).any(axis=0) & fits)
    part_of = np.full(n_clones + 1, -1)  # the last is that of cells without a clone
    loads = [(0.0, part) for part in torch.randperm(n_parts, generator=generator).tolist()]
    for clone in small[torch.randperm(len(small), generator=generator).numpy()]:
        load, part = heapq.heappop(loads)
        part_of[clone] = part
        heapq.heappush(loads, (load + float(share[:, clone].sum()), part))
    first, second = (part_of[part] for part in codes)
    return first, second
