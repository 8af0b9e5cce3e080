from contextlib import contextmanager
from types import SimpleNamespace

import joblib
import numpy as np
import torch

from vgfm_sc.core import path, training

NUMBERS = {
    "width": 8,
    "depth": 2,
    "match_steps": 5,
    "match_size": 32,
    "match_lr": 0.05,
    "fit_steps": 2,
    "fit_cells": 10,
    "fit_lr": 0.005,
    "mass_weight": 10.0,
    "patience": None,
    "device": torch.device("cpu"),
    "seed": 3,
}


def snapshots(n=4):
    rng = np.random.default_rng(0)
    return [rng.normal(k, 1, (20 + k, 2)) for k in range(n)]


def at_random():
    """A coupling that is nothing but draws of the generator; made here, it travels by value."""

    def coupling(x0, x1, mass0, mass1, generator):
        assert x0.dtype == x1.dtype == torch.float32 and generator.device.type == "cpu"
        assert mass0.shape == (len(x0),) and mass1.shape == (len(x1),)
        x0 += 1  # the function's own copy
        return torch.rand(len(x0), len(x1), generator=generator) + 0.1

    return coupling


def train(n=4, **changed):
    bars = {}

    @contextmanager
    def bar(name, total):
        bars[name] = [0, total]

        def update():
            bars[name][0] += 1

        yield SimpleNamespace(update=update)

    method = SimpleNamespace(coupling=at_random(), path=path.straight, noise=0.5, smooth=True)
    times, totals = [float(k) for k in range(n)], [(20 + k) / 20 for k in range(n)]
    return training.train(snapshots(n), times, totals, None, method, **{**NUMBERS, **changed}, bar=bar), bars


def plans(trained):
    return [coupling.plan.toarray() for coupling in trained.couplings]


def test_workers_change_nothing(workers, same_random_state):
    here, bars = train()
    with joblib.parallel_config(**workers):
        there, bars_there = train()
    for found, wanted in zip(plans(there), plans(here), strict=True):
        np.testing.assert_array_equal(found, wanted)
    for found, wanted in zip(there.networks.parameters(), here.networks.parameters(), strict=True):
        assert torch.equal(found, wanted)
    assert bars == bars_there == {"coupling": [3, 3], "matching": [5, 5], "fitting": [2, 2]}


def test_each_interval_has_draws_of_its_own_and_a_seed_decides_them():
    drawn, other = (plans(train(seed=seed)[0]) for seed in (3, 4))
    assert len({plan[0, 0] for plan in drawn + other}) == 6


def test_a_coupling_does_not_depend_on_the_other_intervals():
    for found, wanted in zip(plans(train(n=3)[0]), plans(train(n=4)[0]), strict=False):
        np.testing.assert_array_equal(found, wanted)
