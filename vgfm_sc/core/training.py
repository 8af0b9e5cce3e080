"""The whole job on arrays: couple, match, fit, balance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from vgfm_sc.core import fitting, matching, nets, smoothing
from vgfm_sc.core.balance import balance
from vgfm_sc.core.coupling import BLOCK_PAIRS, Coupling, as_coupling
from vgfm_sc.core.neighbours import spacing


class Trained(NamedTuple):
    """Networks, the coupling of each interval and the history of both stages."""

    networks: nets.Networks
    couplings: list[Coupling]
    history: dict[str, dict[str, np.ndarray]]


def train(
    snapshots: Sequence[np.ndarray],
    times: Sequence[float],
    totals: Sequence[float],
    held_out: Sequence[np.ndarray] | None,
    method: Any,
    *,
    width: int,
    depth: int,
    match_steps: int,
    match_size: int,
    match_lr: float,
    fit_steps: int,
    fit_cells: int,
    fit_lr: float,
    mass_weight: float,
    patience: int | None,
    device: torch.device,
    seed: int,
    bar: Callable[[str, int], Any],
) -> Trained:
    """Train on unitless snapshots, shapes ``(n_k, d)``, at unitless times; see `vgfm_sc.tl.fit` for the numbers.

    ``totals`` is the mass at each time point relative to the first; the fitting stage is judged on ``held_out`` cells
    where there are. ``method`` has ``coupling``, ``path``, ``noise`` and ``smooth``; ``bar(name, total)`` opens a
    progress bar.
    """
    generator = torch.Generator().manual_seed(seed)
    cells = [torch.as_tensor(x, dtype=torch.float32, device=device) for x in snapshots]
    couplings = []
    with bar("coupling", len(cells) - 1) as progress:
        for x0, x1 in zip(cells[:-1], cells[1:], strict=True):
            mass0, mass1 = (torch.ones(len(x), device=device) for x in (x0, x1))
            plan = method.coupling(x0, x1, mass0, mass1, generator)
            couplings.append(as_coupling(plan, mass0.cpu().numpy().astype(float), len(x1)))
            progress.update()
    gaps = [spacing(x, BLOCK_PAIRS) for x in cells]
    slopes = smoothing.node_slopes(couplings, cells, times) if method.smooth else None
    intervals = [
        matching.Interval(
            coupling,
            (cells[k], cells[k + 1]),
            (times[k], times[k + 1]),
            method.path,
            (method.noise * gaps[k], method.noise * gaps[k + 1]),
            None if slopes is None else (slopes[k], slopes[k + 1]),
        )
        for k, coupling in enumerate(couplings)
    ]
    networks = nets.seeded(cells[0].shape[1], width, depth, len(times), seed).to(device)
    networks.keep_to(torch.cat(cells))
    history = {}
    with bar("matching", match_steps) as progress:
        networks, history["matching"] = matching.match(
            networks,
            intervals,
            size=max(1, match_size // len(intervals)),
            n_steps=match_steps,
            lr=match_lr,
            generator=generator,
            on_step=progress.update,
        )
    if fit_steps:
        judged = None
        if held_out is not None:
            unseen = [torch.as_tensor(x, dtype=torch.float32, device=device) for x in held_out]
            judged = fitting.Course(unseen, times, totals, [False] * len(unseen))
        with bar("fitting", fit_steps) as progress:
            networks, history["fitting"] = fitting.fit(
                networks,
                fitting.Course(cells, times, totals, [True] * len(cells)),
                judged,
                n_steps=fit_steps,
                n_cells=fit_cells,
                lr=fit_lr,
                mass_weight=mass_weight,
                patience=patience,
                generator=generator,
                on_step=progress.update,
            )
    balance(networks, cells[0], times, totals)
    return Trained(networks, couplings, history)
