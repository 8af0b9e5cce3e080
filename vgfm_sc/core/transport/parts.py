"""Large snapshots: coupled in random parts, their plans thinned.

Coupling two snapshots whole costs their product. Cut into equal parts, part with part, it costs their sum. Every part
is a stratified sample of the whole: neighbouring cells are dealt out to different parts, so that all parts hold the
same share of every cluster. Cut again and averaged, the chance of which cells come together averages out.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from vgfm_sc.core import jobs
from vgfm_sc.core.device import threads_for
from vgfm_sc.core.transport.clones import kept_together
from vgfm_sc.core.transport.sinkhorn import Plan

REDRAWS = 2
"""Times that the snapshots are cut anew: chance falls with its square root, cost grows with it."""

FEWEST_CELLS = 100
"""Of a snapshot in one part: parts differ by a cell, which must not matter."""

FEWEST_ENTRIES = 10
"""Of a cell, however large the snapshots: with few, what is left of a row says little about it."""

RESCALINGS = 10
"""Rounds in which a thinned plan gets its marginals back: with few entries a cell, three would leave percents."""


def split(
    x0: Tensor,
    x1: Tensor,
    most_pairs: int,
    generator: torch.Generator,
    clones: tuple[Tensor, Tensor] | None = None,
) -> list[tuple[Tensor, Tensor]]:
    """Rows and columns of all parts: one that is everything, or several cuts into parts below ``most_pairs``."""
    n_parts = number(len(x0), len(x1), most_pairs)
    if n_parts == 1:
        return [(torch.arange(len(x0)), torch.arange(len(x1)))]
    orders = [_by_neighbourhood(x, n_parts).cpu() for x in (x0, x1)]
    cuts: list[tuple[Tensor, Tensor]] = []
    for _ in range(REDRAWS):
        together = (None, None) if clones is None else kept_together(clones, n_parts, generator)
        dealt = (_dealt(order, n_parts, generator, part) for order, part in zip(orders, together, strict=True))
        cuts += zip(*dealt, strict=True)
    return cuts


def number(n: int, m: int, most_pairs: int) -> int:
    """Parts that ``n`` and ``m`` cells are cut into."""
    return max(1, min(math.ceil(math.sqrt(n * m / most_pairs)), min(n, m) // FEWEST_CELLS))


def _by_neighbourhood(x: Tensor, n: int) -> Tensor:
    """Cells in an order in which any ``n`` in a row are neighbours: halved along the widest axis, again and again."""
    groups, done = [torch.arange(len(x), device=x.device)], []
    while groups:
        rows = groups.pop()
        if len(rows) <= n:
            done.append(rows)
            continue
        cells = x[rows]
        along = cells[:, cells.var(dim=0).argmax()].argsort()
        groups += [rows[along[len(rows) // 2 :]], rows[along[: len(rows) // 2]]]
    return torch.cat(done)


def _dealt(order: Tensor, n_parts: int, generator: torch.Generator, together: np.ndarray | None) -> list[Tensor]:
    """Of every ``n_parts`` cells in a row one to each part, at random, but for those whose part is given."""
    if together is not None:
        given = torch.as_tensor(together)
        rest = _dealt(order[given[order] < 0], n_parts, generator, None)
        return [torch.cat([cells, (given == k).nonzero()[:, 0]]).sort().values for k, cells in enumerate(rest)]
    n_rounds = math.ceil(len(order) / n_parts)
    part = torch.rand(n_rounds, n_parts, generator=generator).argsort(dim=1).flatten()[: len(order)]
    dealt = order[part.argsort(stable=True)].split(part.bincount(minlength=n_parts).tolist())
    return [cells.sort().values for cells in dealt]


def coupled(
    couple: Callable[..., Plan],
    part: Callable[[Tensor, Tensor], tuple],
    x0: Tensor,
    x1: Tensor,
    clones: tuple[Tensor, Tensor] | None,
    generator: torch.Generator,
    *,
    most_pairs: int,
    most_entries: int,
) -> tuple[csr_array, list[Plan]]:
    """Couple part with part: on a processor in threads, or where the user's joblib configuration says.

    ``part`` takes rows and columns and returns all that is known of their cells, as arrays if these are on a processor:
    nothing else of the snapshots goes to another process. ``couple`` takes a generator and these arrays, and returns a
    plan and how well it was solved. Small ``clones`` are kept together: cells of different parts cannot be coupled.

    Returns
    -------
    The mean plan, shape ``(n, m)``, of about ``most_entries`` or twice `FEWEST_ENTRIES` a cell at most, and the
    answers, each without its entries.
    """
    shape = len(x0), len(x1)
    parts = split(x0, x1, most_pairs, generator, clones)
    n_cuts = REDRAWS if len(parts) > 1 else 1
    per_cell = max(FEWEST_ENTRIES, most_entries // (n_cuts * sum(shape)))
    arrays = (part(i.to(x0.device), j.to(x1.device)) for i, j in parts)
    if len(parts) == 1:
        solved = iter([_coupled(couple, per_cell, generator, *next(arrays))])
    else:
        # each part draws from a generator of its own: none depends on where, or after which, it was solved
        seeds = torch.randint(2**63 - 1, (len(parts),), generator=generator).tolist()
        tasks = ((couple, per_cell, seed, *own) for seed, own in zip(seeds, arrays, strict=True))
        here = x0.device.type == "cpu"
        solved = jobs.in_threads(_drawn, tasks, len(parts)) if here else itertools.starmap(_drawn, tasks)
    answers, data, rows, columns = [], [], [], []
    for (i, j), answer in zip(parts, solved, strict=True):
        plan = answer.entries.tocoo()
        data.append(plan.data / n_cuts)
        rows.append(i.numpy().astype(np.int32)[plan.row])
        columns.append(j.numpy().astype(np.int32)[plan.col])
        answers.append(answer._replace(entries=csr_array((0, 0))))
    entries = np.concatenate(data), (np.concatenate(rows), np.concatenate(columns))
    return csr_array(entries, shape=shape), answers


def _drawn(couple: Callable[..., Plan], per_cell: int, seed: int, *arrays: Any) -> Plan:
    """`_coupled` with a generator, and as many threads, of its own."""
    with threads_for(len(arrays[0]) * len(arrays[1])):
        return _coupled(couple, per_cell, torch.Generator().manual_seed(seed), *arrays)


def _coupled(couple: Callable[..., Plan], per_cell: int, generator: torch.Generator, *arrays: Any) -> Plan:
    """The plan of one part, thinned."""
    answer = couple(generator, *arrays)
    return answer._replace(entries=thinned(answer.entries, per_cell, generator))


def thinned(plan: csr_array, per_cell: int, generator: torch.Generator) -> csr_array:
    """``plan`` with about ``per_cell`` entries for each source and each target, and the same marginals.

    Entries above a ``per_cell``-th of their row or column stay as they are; others are raised to it with the chance
    that keeps their mean, or dropped, but for the largest of each column.
    """
    if plan.nnz <= per_cell * sum(plan.shape):
        return plan
    row, column = plan.sum(axis=1), plan.sum(axis=0)
    rows = np.repeat(np.arange(plan.shape[0]), np.diff(plan.indptr))
    floor = np.minimum(row[rows], column[plan.indices]) / per_cell
    small = plan.data < floor
    # one offset for all: every row keeps as many as its small entries are due, to within one
    due = np.cumsum(np.where(small, plan.data / floor, 0.0)) + float(torch.rand((), generator=generator))
    kept = ~small | (np.diff(np.floor(due), prepend=0.0) > 0)
    kept |= plan.data == plan.max(axis=0).toarray()[plan.indices]  # no target may be left without
    data, rows = np.where(small, floor, plan.data)[kept], rows[kept]
    thin = csr_array((data, (rows, plan.indices[kept])), shape=plan.shape)
    for _ in range(RESCALINGS):
        thin.data *= row[rows] / thin.sum(axis=1)[rows]
        thin.data *= (column / thin.sum(axis=0))[thin.indices]
    return thin
