"""The whole job on arrays: couple, match, fit, balance."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vgfm_sc.core import jobs
from vgfm_sc.core.coupling import Coupling, as_coupling
from vgfm_sc.core.course import Course
from vgfm_sc.core.device import telling_what_to_lower, threads_for
from vgfm_sc.core.dynamics import stored
from vgfm_sc.core.dynamics.networks import Networks
from vgfm_sc.core.neighbours import spacing
from vgfm_sc.core.path import Path
from vgfm_sc.core.threads import shared_by
from vgfm_sc.core.training import fitting, matching, smoothing
from vgfm_sc.core.training.balance import balance
from vgfm_sc.core.training.checkpoint import Checkpoint, Underway
from vgfm_sc.core.training.settings import Settings
from vgfm_sc.core.transport import growth
from vgfm_sc.core.transport.clones import binding
from vgfm_sc.core.transport.entropic import expected

BOX_POINTS = 1000
"""Points on the paths of an interval by which the box is set that networks are kept to."""

Bar = Callable[[str, int], Any]
"""``bar(name, total)`` opens a progress bar."""

Refined = tuple[Networks, dict[str, np.ndarray]]
"""Networks after a stage, and its history."""


class Trained(NamedTuple):
    """Networks, for each course the coupling of each interval, and the history of both stages."""

    networks: Networks
    couplings: list[list[Coupling]]
    history: dict[str, dict[str, np.ndarray]]


def train(
    courses: Sequence[Course],
    method: Any,
    settings: Settings,
    *,
    device: torch.device,
    bar: Bar,
    checkpoint: Checkpoint | None,
) -> Trained:
    """Train on ``courses``: one, or one for each condition, which the networks then take as an input.

    ``method`` has ``coupling``, ``path``, ``prepare``, ``noise``, ``smooth`` and ``shared_growth``; its coupling takes
    ``clones`` where the course has them, and ``rho_factor`` with ``takes_rho_factor``. Couplings and the networks after
    each stage are kept in ``checkpoint`` when they are done, and taken from there if they have been before; a stage
    that was broken off goes on where it was.
    """
    numbers = [None] if len(courses) == 1 else list(range(len(courses)))

    def tensors(snapshots: Sequence[np.ndarray]) -> list[Tensor]:
        return [torch.tensor(x, dtype=torch.float32, device=device) for x in snapshots]

    cells = [tensors(course.positions) for course in courses]
    points = sorted({t for course in courses for t in course.times})
    path = method.path
    if method.prepare is not None:  # first of all: it may refuse the cells
        path = method.prepare(
            [x for of_course in cells for x in of_course], torch.Generator().manual_seed(settings.seed)
        )
    coupled = [
        _couplings(course, k, method, settings.seed, device, bar, checkpoint)
        for course, k in zip(courses, numbers, strict=True)
    ]
    expecting, couplings = [course for course, _ in coupled], [of_course for _, of_course in coupled]
    generator = torch.Generator().manual_seed(settings.seed)
    networks = Networks(
        cells[0][0].shape[1],
        settings.width,
        settings.depth,
        2 * (len(points) - 1),
        torch.Generator().manual_seed(settings.seed),
        with_score=settings.score,
        n_conditions=len(courses) if len(courses) > 1 else 0,
    ).to(device)
    parts = zip(couplings, cells, expecting, numbers, strict=True)
    intervals = [interval for part in parts for interval in _intervals(*part, method, path)]
    networks.keep_to(torch.cat([x for of_course in cells for x in of_course] + _between(intervals, settings.seed)))
    stage = partial(_stage, generator=generator, bar=bar, checkpoint=checkpoint)

    size = max(1, settings.match_size // len(intervals))

    def match(networks: Networks, **given: Any) -> Refined:
        n_steps, lr = settings.match_steps, settings.match_lr
        return matching.match(networks, intervals, size=size, n_steps=n_steps, lr=lr, **given)

    def matched(networks: Networks, generator: torch.Generator) -> Tensor:
        return matching.loss(networks, intervals, size, generator)

    history, at_once = {}, settings.match_size * settings.width
    networks, history["matching"] = stage("matching", match, networks, settings.match_steps, at_once)
    if settings.fit_steps:

        def samples(snapshots: Sequence[Sequence[Tensor]]) -> list[fitting.Sample]:
            parts = zip(snapshots, courses, numbers, strict=True)
            return [fitting.Sample(x, course.times, course.totals, len(x[0]), k) for x, course, k in parts]

        unseen = [tensors(course.held_out) for course in courses if course.held_out is not None]
        judged, at_once = samples(unseen) if unseen else None, settings.fit_cells * settings.width

        def fit(networks: Networks, **given: Any) -> Refined:
            return fitting.fit(networks, samples(cells), judged, settings, matched=matched, **given)

        networks, history["fitting"] = stage("fitting", fit, networks, settings.fit_steps, at_once)
    networks.settle()
    for of_course, course, k in zip(cells, courses, numbers, strict=True):
        balance(networks, of_course[0], course.times, course.totals, k, points)
    return Trained(networks, couplings, history)


def _couplings(
    course: Course,
    condition: int | None,
    method: Any,
    seed: int,
    device: torch.device,
    bar: Bar,
    checkpoint: Checkpoint | None,
) -> tuple[Course, list[Coupling]]:
    """``course``, with the growth expected that its cells share if they do, and the coupling of each interval."""
    n, before = len(course.times) - 1, "" if condition is None else f"condition{condition}-"
    rounds = growth.ROUNDS if method.shared_growth else 0
    with bar("coupling", (rounds + 1) * n) as progress:

        def solved(course: Course, name: str) -> list[Coupling]:
            couplings = []
            for coupling in _solved(course, method, seed, device, checkpoint, before + name):
                couplings.append(coupling)
                progress.update()
            return couplings

        if method.shared_growth:
            course = growth.learnt(course, seed, lambda sample, k: solved(sample, f"first{k}-"))
        return course, solved(course, "coupling")


def _solved(
    course: Course, method: Any, seed: int, device: torch.device, checkpoint: Checkpoint | None, name: str
) -> Iterator[Coupling]:
    """The coupling of each interval, kept under ``name`` as soon as it is solved."""
    # each interval draws from a generator of its own: no coupling depends on where, or after which, it was solved
    seeds = np.random.SeedSequence(seed).generate_state(len(course.times) - 1, np.uint64).tolist()
    tasks, cells = [], [np.asarray(x, dtype=np.float32) for x in course.positions]
    for k, own in enumerate(seeds):
        log_growth = _expected(course, k, late=0.5 if method.shared_growth else 0.0)
        x0, x1 = cells[k : k + 2]
        known: dict[str, Any] = {}
        if course.wander is not None:
            known["spread"] = course.wander[k]
        if course.clones is not None:
            known["clones"] = binding(*course.clones[k : k + 2])
        if course.rho_factors is not None and method.takes_rho_factor:
            known["rho_factor"] = course.rho_factors[k]
        informed = partial(method.coupling, **known) if known else method.coupling
        tasks.append((informed, x0, x1, tuple(course.masses[k : k + 2]), log_growth, device, own))
    kept = [None if checkpoint is None else checkpoint.read(f"{name}{k}") for k in range(len(tasks))]
    left = [task for task, arrays in zip(tasks, kept, strict=True) if arrays is None]
    solved = jobs.in_threads(_coupled, left, len(tasks)) if device.type == "cpu" else jobs.each(_coupled, left)
    for k, arrays in enumerate(kept):
        if arrays is not None:
            yield Coupling.of_arrays(arrays)
            continue
        coupling = next(solved)
        if checkpoint is not None:
            checkpoint.write(f"{name}{k}", coupling.arrays())
        yield coupling


def _expected(course: Course, k: int, *, late: float) -> tuple[np.ndarray, np.ndarray] | None:
    """Log growth expected in interval ``k`` by source and by target cell, whose share of it is ``late``."""
    if course.prior is None:
        return None
    source, target = course.prior[k] * course.durations[k], course.prior[k + 1] * course.durations[k]
    return (1 - late) * source, late * target


def _coupled(
    couple: Callable,
    x0: np.ndarray,
    x1: np.ndarray,
    mass: tuple[float | np.ndarray, float | np.ndarray],
    log_growth: tuple[np.ndarray, np.ndarray] | None,
    device: torch.device,
    seed: int,
) -> Coupling:
    """The coupling of one interval; arrays go between processes, where tensors on a device may not.

    ``mass``: what a cell of either snapshot holds, or what each of them does. ``log_growth``: expected of the source
    and of the target cells.
    """
    cells = [torch.tensor(x, device=device) for x in (x0, x1)]
    held, target = (np.full(len(x), m) for x, m in zip((x0, x1), mass, strict=True))
    early, late = log_growth or (np.zeros(len(x)) for x in (x0, x1))
    source, sent = expected(held, early), expected(target, -late)
    masses = [torch.tensor(m, dtype=torch.float32, device=device) for m in (source, sent)]
    with telling_what_to_lower("coupling"), threads_for(len(x0) * len(x1)):
        plan = couple(*cells, *masses, torch.Generator().manual_seed(seed))
    coupling = as_coupling(plan, held, sent)
    return coupling.grown(np.log(target / sent)) if late.any() else coupling


def _intervals(
    couplings: Sequence[Coupling],
    cells: Sequence[Tensor],
    course: Course,
    condition: int | None,
    method: Any,
    path: Path,
) -> list[matching.Interval]:
    """What matching draws from: couplings, and the paths between their cells."""
    times, wander = course.times, course.wander or [0.0] * len(couplings)
    gaps = [spacing(x) for x in cells]
    noise = [method.noise * matching.noise_between(gap, cells[0].shape[1]) for gap in gaps]
    blur = [max(matching.SCORE_BLUR * gap, matching.LEAST_BLUR) for gap in gaps]
    curved = method.prepare is not None
    slopes = None
    if method.smooth:
        known = growth.at_ends(course, couplings) if method.shared_growth else None
        slopes = smoothing.node_slopes(couplings, cells, times, path if curved else None, known)
    uneven = not np.allclose(np.diff(times), course.durations)  # training has a clock of its own
    box = smoothing.Box(*torch.cat(list(cells)).aminmax(dim=0)) if uneven else None
    return [
        matching.Interval(
            coupling,
            (cells[k], cells[k + 1]),
            (times[k], times[k + 1]),
            path,
            matching.Spread((noise[k], noise[k + 1]), (blur[k], blur[k + 1]), wander[k]),
            None if slopes is None else (slopes[k], slopes[k + 1]),
            condition,
            box=box,
            curved=curved,
        )
        for k, coupling in enumerate(couplings)
    ]


def _between(intervals: Sequence[matching.Interval], seed: int) -> list[Tensor]:
    """Where paths lead: a course that turns between two time points leaves the range of its cells."""
    return [interval.draw(BOX_POINTS, torch.Generator().manual_seed(seed)).on_path for interval in intervals]


def _stage(
    name: str,
    run: Callable[..., Refined],
    networks: Networks,
    n_steps: int,
    at_once: int,
    *,
    generator: torch.Generator,
    bar: Bar,
    checkpoint: Checkpoint | None,
) -> Refined:
    """What a stage makes of ``networks``, from the checkpoint where it was done before.

    ``at_once``: numbers in an operation of ``run``, the stage.
    """
    found, underway = None if checkpoint is None else checkpoint.read(name), Underway(checkpoint, name)
    if found is not None:
        networks.load_state_dict({name: torch.as_tensor(found[f"weights.{name}"]) for name in networks.state_dict()})
        generator.set_state(torch.as_tensor(found["generator"]))
        return networks, {
            name.removeprefix("history."): values for name, values in found.items() if name.startswith("history.")
        }
    with (
        bar(name, n_steps) as progress,
        threads_for(at_once) as n_threads,
        shared_by(n_threads, networks.low.device) as share,
        underway,
    ):
        if underway.found is not None:
            progress.n = progress.initial = progress.last_print_n = int(underway.found["step"])
        networks, history = run(networks, generator=generator, on_step=progress.update, underway=underway, share=share)
        progress.total = progress.n  # where it ended early it is done all the same
    if checkpoint is not None:
        parts = {"weights": stored.weights(networks), "history": history}
        arrays = {f"{part}.{name}": value for part, named in parts.items() for name, value in named.items()}
        checkpoint.write(name, {**arrays, "generator": generator.get_state().numpy()})
        underway.done()
    return networks, history
