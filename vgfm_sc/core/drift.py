"""Where cells are carried to, before asking who multiplied.

A semi-relaxed coupling of the cells where they stand confounds motion with growth. With a large rho, cells of a branch
that multiplies are made up for by moving others across; with a small one nothing crosses, but the front of a moving
branch seems to multiply and its back to die. So the cells are first carried along by the mean displacement around them
in a plan with a small rho, and coupled from there: what little is left to travel says little about growth.
"""

from __future__ import annotations

import torch
from scipy.sparse import csr_array
from torch import Tensor

from vgfm_sc.core.neighbours import nearest

NEIGHBOURS = 15
"""Cells whose displacement is shared, as in scanpy's neighbour graph; results hardly change from 10 to 40."""


def carried(x0: Tensor, x1: Tensor, plan: csr_array, block: int) -> Tensor:
    """``x0``, shape ``(n, d)``, moved on by the mean displacement of its neighbours in ``plan``, weighted by mass."""
    row_mass = torch.as_tensor(plan.sum(axis=1)).to(x0)
    moved = torch.as_tensor(plan @ x1.cpu().numpy()).to(x0) - row_mass[:, None] * x0  # mass times displacement
    near = nearest(x0, x0, min(NEIGHBOURS, len(x0)), block)
    held = row_mass[near].sum(1)[:, None]
    return x0 + torch.where(held > 0, moved[near].sum(1) / held, 0.0)  # what has no descendants is carried nowhere
