"""The whole job on arrays: couple, match, fit, balance."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from vgfm_sc.core import fitting, jobs, matching, nets, smoothing, state
from vgfm_sc.core.balance import balance
from vgfm_sc.core.checkpoint import Checkpoint
from vgfm_sc.core.coupling import BLOCK_PAIRS, Coupling, as_coupling, expected
from vgfm_sc.core.neighbours import spacing

INITIALISING = threading.Lock()
"""Held while networks borrow torch's global generator: other threads may be training models of their own."""


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
    masses: Sequence[float],
    prior: Sequence[np.ndarray] | None,
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
    checkpoint: Checkpoint | None,
) -> Trained:
    """Train on unitless snapshots, shapes ``(n_k, d)``, at unitless times; see `vgfm_sc.tl.fit` for the numbers.

    ``totals`` is the mass at each time point relative to the first, ``masses`` that of a cell relative to one of the
    first. ``prior`` is the growth rate expected of each cell, if there is one. The fitting stage is judged on
    ``held_out`` cells where there are. ``method`` has ``coupling``, ``path``, ``noise`` and ``smooth``;
    ``bar(name, total)`` opens a progress bar. Couplings and the matched networks are kept in ``checkpoint`` when they
    are done, and taken from there if they have been before.
    """
    snapshots = [np.asarray(x, dtype=np.float32) for x in snapshots]
    # each interval draws from a generator of its own: no coupling depends on where, or after which, it was solved
    seeds = np.random.SeedSequence(seed).generate_state(len(snapshots) - 1, np.uint64).tolist()
    pairs = [
        (
            method.coupling,
            snapshots[k],
            snapshots[k + 1],
            (masses[k], masses[k + 1]),
            None if prior is None else prior[k] * (times[k + 1] - times[k]),
            device,
            own,
        )
        for k, own in enumerate(seeds)
    ]
    couplings = []
    with bar("coupling", len(pairs)) as progress:
        for coupling in _couplings(pairs, checkpoint):
            couplings.append(coupling)
            progress.update()
    generator = torch.Generator().manual_seed(seed)
    cells = [torch.tensor(x, device=device) for x in snapshots]
    gaps = [spacing(x, BLOCK_PAIRS["cpu"]) for x in cells]
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
    with INITIALISING:
        networks = nets.seeded(cells[0].shape[1], width, depth, len(times), seed).to(device)
    networks.keep_to(torch.cat(cells))
    history = {}
    matched = None if checkpoint is None else checkpoint.read("matching")
    if matched is not None:
        networks.load_state_dict({name: torch.as_tensor(matched[f"weights.{name}"]) for name in networks.state_dict()})
        history["matching"] = {name: matched[f"history.{name}"] for name in ("velocity", "growth")}
        generator.set_state(torch.as_tensor(matched["generator"]))
    else:
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
        if checkpoint is not None:
            parts = {"weights": state.weights(networks), "history": history["matching"]}
            arrays = {f"{part}.{name}": value for part, named in parts.items() for name, value in named.items()}
            checkpoint.write("matching", {**arrays, "generator": generator.get_state().numpy()})
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
            progress.total = progress.n  # where it ended early it is done all the same
    balance(networks, cells[0], times, totals)
    return Trained(networks, couplings, history)


def _couplings(pairs: Sequence[tuple], checkpoint: Checkpoint | None) -> Iterator[Coupling]:
    """The coupling of each interval, kept as soon as it is solved."""
    kept = [None if checkpoint is None else checkpoint.read(f"coupling{k}") for k in range(len(pairs))]
    solved = jobs.each(_coupled, [pair for pair, arrays in zip(pairs, kept, strict=True) if arrays is None])
    for k, arrays in enumerate(kept):
        if arrays is not None:
            yield state.coupling(arrays)
            continue
        coupling = next(solved)
        if checkpoint is not None:
            checkpoint.write(f"coupling{k}", state.coupling_arrays(coupling))
        yield coupling
    next(solved, None)  # at its end it passes warnings on


def _coupled(
    couple: Callable,
    x0: np.ndarray,
    x1: np.ndarray,
    mass: tuple[float, float],
    log_growth: np.ndarray | None,
    device: torch.device,
    seed: int,
) -> Coupling:
    """The coupling of one interval; arrays go between processes, where tensors on a device may not.

    ``mass``: what a cell of either snapshot holds. ``log_growth``: expected of the source cells over the interval.
    """
    cells = [torch.tensor(x, device=device) for x in (x0, x1)]
    held, target = (np.full(len(x), m) for x, m in zip((x0, x1), mass, strict=True))
    source = held if log_growth is None else expected(held, log_growth)
    masses = [torch.tensor(m, dtype=torch.float32, device=device) for m in (source, target)]
    plan = couple(*cells, *masses, torch.Generator().manual_seed(seed))
    return as_coupling(plan, held, len(x1))
