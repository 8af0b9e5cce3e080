from contextlib import contextmanager
from types import SimpleNamespace

import joblib
import numpy as np
import pytest
import torch

from vgfm_sc.core import device as devices
from vgfm_sc.core import path
from vgfm_sc.core.course import Course
from vgfm_sc.core.training import train as training
from vgfm_sc.core.training.settings import Settings

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
    "score": True,
    "seed": 3,
}


def snapshots(n=4):
    rng = np.random.default_rng(0)
    return [rng.normal(k, 1, (20 + k, 2)) for k in range(n)]


def at_random():
    """A coupling by draws of the generator alone; made here, it travels by value."""

    def coupling(x0, x1, mass0, mass1, generator):
        assert x0.dtype == x1.dtype == torch.float32 and generator.device.type == "cpu"
        assert mass0.shape == (len(x0),) and mass1.shape == (len(x1),)
        x0 += 1  # the function's own copy
        plan = torch.rand(len(x0), len(x1), generator=generator) + 0.1
        return plan * (mass1 / plan.sum(dim=0))

    return coupling


def train(n=4, **changed):
    bars = {}

    @contextmanager
    def bar(name, total):
        bars[name] = [0, total]

        def update():
            bars[name][0] += 1

        yield SimpleNamespace(update=update, n=0)

    method = SimpleNamespace(
        coupling=changed.pop("coupling", at_random()),
        path=path.straight,
        prepare=None,
        noise=0.5,
        smooth=True,
        shared_growth=changed.pop("shared_growth", False),
        takes_rho_factor=False,
    )
    totals = [(20 + k) / 20 for k in range(n)]
    times, masses = changed.pop("times", [float(k) for k in range(n)]), changed.pop("masses", [1.0] * n)
    durations = np.diff(times) / np.diff(times).mean()
    course = Course(snapshots(n), times, totals, masses, durations, changed.pop("prior", None))
    settings = Settings(**NUMBERS | changed)
    return training.train([course], method, settings, device=torch.device("cpu"), bar=bar, checkpoint=None), bars


def plans(trained):
    return [coupling.plan.toarray() for coupling in trained.couplings[0]]


def test_workers_change_nothing(workers, same_random_state):
    here, bars = train()
    with joblib.parallel_config(**workers):
        there, bars_there = train()
    for found, wanted in zip(plans(there), plans(here), strict=True):
        np.testing.assert_array_equal(found, wanted)
    for found, wanted in zip(there.networks.parameters(), here.networks.parameters(), strict=True):
        assert torch.equal(found, wanted)
    assert bars == bars_there == {"coupling": [3, 3], "matching": [5, 5], "fitting": [2, 2]}


def test_small_work_is_done_by_one_thread_and_those_of_before_are_put_back(monkeypatch):
    seen = {}

    def noting(name, function):
        def noted(*given, **settings):
            seen[name] = torch.get_num_threads()
            return function(*given, **settings)

        return noted

    monkeypatch.setattr(training.matching, "match", noting("matching", training.matching.match))
    monkeypatch.setattr(training.fitting, "fit", noting("fitting", training.fitting.fit))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        train(n=2, coupling=noting("coupling", at_random()))
        assert torch.get_num_threads() == 2
        assert seen == {"coupling": 1, "matching": 1, "fitting": 1}
        monkeypatch.setattr(devices, "PER_THREAD", 100)  # 420 pairs of cells, 32 pairs and 10 cells times 8 units
        train(n=2, coupling=noting("coupling", at_random()))
        assert seen == {"coupling": 2, "matching": 2, "fitting": 1}
    finally:
        torch.set_num_threads(before)


def test_each_interval_has_draws_of_its_own_and_a_seed_decides_them():
    drawn, other = (plans(train(seed=seed)[0]) for seed in (3, 4))
    assert len({plan[0, 0] for plan in drawn + other}) == 6


def test_a_coupling_does_not_depend_on_the_other_intervals():
    for found, wanted in zip(plans(train(n=3)[0]), plans(train(n=4)[0]), strict=False):
        np.testing.assert_array_equal(found, wanted)


def test_a_coupling_starts_from_what_cells_hold_and_are_expected_to_become():
    """The expectation is a rate; what it makes of a cell goes by the length of the interval."""
    given = []

    def alike(x0, x1, mass0, mass1, generator):
        assert mass0.dtype == mass1.dtype == torch.float32
        given.append((mass0.double().numpy(), mass1.double().numpy()))
        return mass0[:, None] * mass1 / mass0.sum()

    rng = np.random.default_rng(0)
    prior = [rng.normal(5, 1, 20 + k) for k in range(3)]
    masses, times = [1.0, 0.3, 4.0], [-1.0, -0.5, 1.0]
    plain = train(n=3, coupling=alike, times=times, masses=masses)[0]
    told = train(n=3, coupling=alike, times=times, masses=masses, prior=prior)[0]
    for k, (mass0, mass1) in enumerate(given[:2]):
        np.testing.assert_allclose(mass0, masses[k], rtol=1e-6)
        np.testing.assert_allclose(mass1, masses[k + 1], rtol=1e-6)
        ratio = len(mass1) * masses[k + 1] / (len(mass0) * masses[k])
        np.testing.assert_allclose(plain.couplings[0][k].row_mass, ratio, rtol=1e-5)
    for k, (mass0, mass1) in enumerate(given[2:]):
        assert mass0.sum() == pytest.approx(len(mass0) * masses[k])
        np.testing.assert_allclose(mass1, masses[k + 1], rtol=1e-6)
        log_growth = np.log(told.couplings[0][k].row_mass)
        np.testing.assert_allclose(np.diff(log_growth), np.diff(prior[k]) * (times[k + 1] - times[k]), atol=1e-5)
        total = (told.couplings[0][k].row_mass * masses[k]).sum()
        assert total == pytest.approx(len(mass1) * masses[k + 1], rel=1e-5)
