import threading

import joblib
import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from vgfm_sc.core import jobs
from vgfm_sc.core.transport import entropic, parts


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(parts, "FEWEST_CELLS", 1)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def branches(n, m, seed=0):
    """Two branches far apart; the second doubles."""
    rng = np.random.default_rng(seed)

    def draw(low, high):
        x = rng.standard_normal((low + high, 3))
        x[low:, 0] += 8
        return torch.as_tensor(x / x.std(), dtype=torch.float32)

    return draw(n, n), draw(m, 2 * m), np.arange(2 * n) >= n


@pytest.mark.parametrize(("shape", "most"), [((90, 70), 10**4), ((90, 70), 500), ((2, 400), 10), ((7, 7), 1)])
def test_every_cell_is_in_one_part_of_each_cut(shape, most):
    x0, x1 = (torch.randn(n, 3, generator=generator(n)) for n in shape)
    cut = parts.split(x0, x1, most, generator())
    n_cuts = 1 if shape[0] * shape[1] <= most else parts.REDRAWS
    n_parts = len(cut) // n_cuts
    for side in (0, 1):
        joined = torch.cat([part[side] for part in cut])
        assert (joined.bincount(minlength=shape[side]) == n_cuts).all()
        sizes = [len(part[side]) for part in cut]
        assert 0 < min(sizes)
        assert max(sizes) - min(sizes) <= 1
        assert max(sizes) <= -(-shape[side] // n_parts)
    assert n_parts == min(*shape, -(-((shape[0] * shape[1] / most) ** 0.5) // 1))


def test_small_snapshots_are_coupled_whole():
    x0, x1 = torch.zeros(20, 2), torch.zeros(30, 2)
    assert [(len(i), len(j)) for i, j in parts.split(x0, x1, 600, generator())] == [(20, 30)]


def test_parts_hold_their_share_of_every_cluster():
    """Three clusters of 1,000, 500 and 40 cells in ten parts: by chance alone the last would vary by 2 cells."""
    rng = np.random.default_rng(0)
    of = np.repeat([0, 1, 2], [1000, 500, 40])
    x = torch.as_tensor(5 * of[:, None] * [1.0, -1.0] + rng.standard_normal((1540, 2)))
    found = [np.bincount(of[i], minlength=3) for i, _ in parts.split(x, x, 154**2, generator())]
    assert len(found) == 10 * parts.REDRAWS
    np.testing.assert_allclose(np.mean(found, axis=0), [100, 50, 4], rtol=1e-9)
    by_chance = np.sqrt([1000, 500, 40]) / np.sqrt(10)
    assert (np.std(found, axis=0) < by_chance / 3).all()


def test_parts_give_the_growth_and_the_targets_that_the_whole_gives(monkeypatch):
    x0, x1, second = branches(150, 150)
    masses = torch.ones(300), torch.ones(450)
    settings = {"eps": 0.01, "rho": 0.5, "drift_rho": 0.2}
    whole = entropic.semi_relaxed(x0, x1, *masses, generator(), **settings)
    monkeypatch.setitem(entropic.MOST_PAIRS, "cpu", 10_000)
    cut = entropic.semi_relaxed(x0, x1, *masses, generator(), **settings)
    assert whole.n_parts == 1
    assert cut.n_parts == 4 * parts.REDRAWS
    assert cut.converged
    np.testing.assert_allclose(cut.plan.sum(axis=0), 1, rtol=1e-4)
    assert cut.row_mass[~second].mean() == pytest.approx(whole.row_mass[~second].mean(), rel=0.03)
    assert cut.row_mass[second].mean() == pytest.approx(whole.row_mass[second].mean(), rel=0.03)
    assert whole.row_mass[second].mean() == pytest.approx(2, rel=0.05)


def test_balanced_parts_keep_both_marginals(monkeypatch):
    x0, x1, _ = branches(60, 60)
    monkeypatch.setitem(entropic.MOST_PAIRS, "cpu", 2_500)
    cut = entropic.balanced(x0, x1, torch.ones(120), torch.ones(180), generator(), eps=0.01)
    assert cut.n_parts > 1
    np.testing.assert_allclose(cut.row_mass, 1.5, rtol=0.02)
    np.testing.assert_allclose(cut.plan.sum(axis=0), 1, rtol=1e-4)


def test_same_seed_same_parts(monkeypatch):
    x0, x1, _ = branches(40, 40)
    monkeypatch.setitem(entropic.MOST_PAIRS, "cpu", 1_000)
    plans = [
        entropic.semi_relaxed(
            x0, x1, torch.ones(80), torch.ones(120), generator(seed), eps=0.01, rho=0.5, drift_rho=0.2
        ).plan.toarray()
        for seed in (3, 3, 4)
    ]
    np.testing.assert_array_equal(plans[0], plans[1])
    assert np.abs(plans[0] - plans[2]).max() > 1e-3


@pytest.fixture
def most_pairs(monkeypatch):
    monkeypatch.setitem(entropic.MOST_PAIRS, "cpu", 1_000)


def cut_plan(seed=0, clones=None):
    x0, x1, _ = branches(40, 40)
    numbers = {"eps": 0.01, "rho": 0.5, "drift_rho": 0.2, "clones": clones}
    return entropic.semi_relaxed(x0, x1, torch.ones(80), torch.ones(120), generator(seed), **numbers)


@pytest.mark.parametrize("clones", [None, (np.arange(80) % 9, np.arange(120) % 9)], ids=["", "clones"])
def test_parts_that_are_spread_give_the_same_plan_to_the_last_bit(monkeypatch, most_pairs, clones):
    monkeypatch.setattr(parts, "FEWEST_ENTRIES", 2)
    monkeypatch.setattr(entropic, "MOST_ENTRIES", 0)  # plans are thinned, by chance
    ran_in, thinned = set(), parts.thinned
    monkeypatch.setattr(parts, "thinned", lambda *args: ran_in.add(threading.get_ident()) or thinned(*args))
    here = cut_plan(clones=clones)
    assert here.n_parts > 2 and ran_in == {threading.get_ident()}
    with joblib.parallel_config(backend="threading", n_jobs=2):
        spread = cut_plan(clones=clones)
    assert len(ran_in) == 3
    for name, value in here.arrays().items():
        np.testing.assert_array_equal(spread.arrays()[name], value)


def test_parts_of_several_couplings_are_spread_by_dask(most_pairs):
    distributed = pytest.importorskip("distributed")
    local = distributed.LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0")
    tasks = [(seed,) for seed in range(3)]
    here = list(jobs.each(cut_plan, tasks))
    with local, distributed.Client(local, set_as_default=False) as client:
        with joblib.parallel_config(backend="dask", client=client):
            spread = list(jobs.each(cut_plan, tasks))
    for one, other in zip(here, spread, strict=True):
        assert one.n_parts == other.n_parts > 2
        np.testing.assert_array_equal(one.plan.toarray(), other.plan.toarray())


def test_a_part_is_told_of_its_own_cells_alone(monkeypatch, most_pairs):
    """Numbers of all that goes to another process: two snapshots in each of two cuts, with a mass for each cell."""
    sent = []

    def each(function, tasks):
        for task in tasks:
            sent.append([part for part in task if hasattr(part, "shape")])
            assert all(isinstance(part, np.ndarray) for part in sent[-1])
            yield function(*task)

    monkeypatch.setattr(parts.jobs, "each", each)
    found = cut_plan()
    assert found.n_parts == len(sent)
    assert sum(array.size for arrays in sent for array in arrays) == parts.REDRAWS * (80 + 120) * (3 + 1)


def plan_of(n, m, seed=0):
    dense = np.random.default_rng(seed).gamma(0.3, size=(n, m))
    return csr_array(dense / dense.sum(axis=0))


def test_thinning_keeps_the_marginals_and_the_size_asked_for():
    plan = plan_of(200, 300)
    thin = parts.thinned(plan, 20, generator())
    assert thin.nnz < 1.2 * 20 * 500
    assert thin.nnz < plan.nnz / 3
    np.testing.assert_allclose(thin.sum(axis=0), plan.sum(axis=0), rtol=1e-9)
    np.testing.assert_allclose(thin.sum(axis=1), plan.sum(axis=1), rtol=0.01)


def test_thinning_leaves_small_plans_as_they_are():
    plan = plan_of(20, 30)
    assert parts.thinned(plan, 100, generator()) is plan


def test_thinning_is_unbiased():
    plan = plan_of(100, 120)
    draws = np.stack([parts.thinned(plan, 10, generator(seed)).toarray() for seed in range(400)])
    dense = plan.toarray()
    off = (draws.mean(axis=0) - dense) / (draws.std(axis=0) / 20 + 1e-3)
    assert np.abs(off).mean() < 1.2
    for marginal in (0, 1):
        np.testing.assert_allclose(draws.mean(axis=0).sum(axis=marginal), dense.sum(axis=marginal), rtol=0.02)
