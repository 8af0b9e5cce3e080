"""The whole job on arrays: couple, match, fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from vgfm_sc.core import fitting, matching, nets, smoothing
from vgfm_sc.core.coupling import Coupling, as_coupling


class Trained(NamedTuple):
    """Networks, the coupling of each interval and the history of both stages."""

    networks: nets.Networks
    couplings: list[Coupling]
    history: dict[str, dict[str, np.ndarray]]


def train(
    snapshots: Sequence[np.ndarray],
    times: Sequence[float],
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
    device: torch.device,
    seed: int,
    bar: Callable[[str, int], Any],
) -> Trained:
    """Train on unitless snapshots, shapes ``(n_k, d)``, at unitless times; see `vgfm_sc.tl.fit` for the numbers.

    ``method`` has ``coupling``, ``path`` and ``noise``; ``bar(name, total)`` opens a progress bar.
    """
    generator = torch.Generator().manual_seed(seed)
    cells = [torch.as_tensor(x, dtype=torch.float32, device=device) for x in snapshots]
    pairs = list(zip(range(len(cells) - 1), range(1, len(cells)), strict=True))
    couplings = []
    with bar("coupling", len(pairs)) as progress:
        for k, after in pairs:
            mass0, mass1 = (torch.ones(len(cells[i]), device=device) for i in (k, after))
            plan = method.coupling(cells[k], cells[after], mass0, mass1, generator)
            couplings.append(as_coupling(plan, mass0.cpu().numpy().astype(float), len(cells[after])))
            progress.update()
    slopes = smoothing.node_slopes(couplings, cells, times) if method.smooth else None
    intervals = [
        matching.Interval(
            coupling,
            (cells[k], cells[after]),
            (times[k], times[after]),
            method.path,
            method.noise,
            None if slopes is None else (slopes[k], slopes[after]),
        )
        for coupling, (k, after) in zip(couplings, pairs, strict=True)
    ]
    networks = nets.seeded(cells[0].shape[1], width, depth, seed).to(device)
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
        course = fitting.Course(cells, times, [len(x) / len(cells[0]) for x in cells], [True] * len(cells))
        with bar("fitting", fit_steps) as progress:
            networks, history["fitting"] = fitting.fit(
                networks,
                course,
                n_steps=fit_steps,
                n_cells=fit_cells,
                lr=fit_lr,
                mass_weight=mass_weight,
                generator=generator,
                on_step=progress.update,
            )
    return Trained(networks, couplings, history)
