"""What each cell is expected to become, before any coupling asks for equal growth.

A semi-relaxed coupling draws growth towards uniform with the strength rho. With a large rho, cells of a branch that
multiplies are made up for by moving others across; with a small one nothing crosses, but motion is explained away as
growth at the front of a moving branch and death at its back. The two errors have different shapes: the second averages
out along a branch. So row masses at a small rho, smoothed along the snapshot's neighbour graph, replace the uniform
source marginal, and the large rho then holds against them.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import csr_array, diags_array
from scipy.sparse.linalg import cg
from torch import Tensor

NEIGHBOURS = 15
"""As scanpy's neighbour graph: enough to join what belongs together, few enough to keep branches apart."""

REACH_PER_CELL = 2.0
"""Smoothing strength per cell: a walk of so many steps crosses a branch of a two-dimensional cloud of any size."""

LEAST_SHARE = 1e-3
"""Smallest expected mass, as a share of the mean."""

CG_TOL = 1e-6
CG_MAX_ITER = 10_000
"""Far more than the thousand or so that graphs of 100,000 cells take."""


def smoothed(x: Tensor, mass: np.ndarray, block: int) -> np.ndarray:
    """``mass``, shape ``(n,)``, smoothed over the neighbours of cells ``x``, shape ``(n, d)``, its total kept.

    Minimises ``|m - mass|^2 + k sum_ij w_ij (m_i - m_j)^2 / 2`` over the weights of the neighbour graph.
    """
    weights = neighbour_graph(x, min(NEIGHBOURS, len(x) - 1), block)
    degree = weights.sum(axis=1)
    strength = REACH_PER_CELL * len(x)
    system = diags_array(1 + strength * degree) - strength * weights
    start = np.full_like(mass, mass.mean())
    solution, failed = cg(
        system, mass, x0=start, rtol=CG_TOL, maxiter=CG_MAX_ITER, M=diags_array(1 / (1 + strength * degree))
    )
    if failed:
        msg = "Growth could not be smoothed over the neighbour graph. Pass method=vgfm_sc.methods.vgfm(prior_rho=None)."
        raise FloatingPointError(msg)
    return np.maximum(solution, LEAST_SHARE * mass.mean())


def neighbour_graph(x: Tensor, k: int, block: int) -> csr_array:
    """Squared share of neighbours that a cell and one of its ``k`` nearest have in common.

    Cells of one branch share most neighbours; a straggler between two branches shares few with either.
    """
    n = len(x)
    squares = x.square().sum(1)
    nearest = []
    for rows in torch.arange(n, device=x.device).split(max(1, block // n)):
        between = torch.addmm(squares, x[rows], x.T, alpha=-2)
        between[torch.arange(len(rows)), rows] = torch.inf
        nearest.append(between.topk(k, largest=False).indices.cpu())
    columns = torch.cat(nearest).numpy().ravel()
    near = csr_array((np.ones(n * k), columns, np.arange(0, n * k + 1, k)), shape=(n, n))
    shared = (near @ near.T).multiply(near.maximum(near.T)) / k
    return shared.tocsr().power(2)
