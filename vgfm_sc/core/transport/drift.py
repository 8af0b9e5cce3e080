"""Where cells are carried to, before asking who multiplied.

A semi-relaxed coupling of the cells where they stand confounds motion with growth. With a large rho, cells of a branch
that multiplies are made up for by moving others across; with a small one nothing crosses, but the front of a moving
branch seems to multiply and its back to die. So the cells are first carried along by the mean displacement around them
in a plan with a small rho, and coupled from there: what little is left to travel says little about growth.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from vgfm_sc.core.neighbours import nearest

NEIGHBOURS = 15
"""Cells whose displacement is shared, as in scanpy's neighbour graph; results hardly change from 10 to 40."""


def carried(x0: Tensor, x1: Tensor, plan: csr_array) -> Tensor:
    """``x0``, shape ``(n, d)``, moved on by the mean displacement of its neighbours in ``plan``, weighted by mass."""
    source, row_mass = x0.cpu().numpy(), plan.sum(axis=1)[:, None]
    moved = plan @ x1.cpu().numpy() - row_mass * source  # mass times displacement
    order = np.lexsort((row_mass[:, 0], *source.T))  # which of equally near cells count must not go by their rows
    near = order[nearest(source, source[order], min(NEIGHBOURS, len(source)))[1]]
    held = row_mass[near].sum(axis=1)
    # what has no descendants is carried nowhere
    shift = np.divide(moved[near].sum(axis=1), held, out=np.zeros_like(moved), where=held > 0)
    return x0 + torch.as_tensor(shift).to(x0)
