"""The whole job finds a simulator's true velocity and growth, and scores on real data."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy.spatial.distance import cdist

import vgfm_sc
from vgfm_sc.core.reading.distances import wasserstein1

pytestmark = pytest.mark.slow


def table_data(path):
    table = pd.read_csv(path)
    features = [name for name in table if name != "samples"]
    obs = pd.DataFrame({"time": table["samples"].to_numpy()}, index=table.index.astype(str))
    return AnnData(np.zeros((len(table), 1), np.float32), obs=obs, obsm={"X_data": table[features].to_numpy()})


def score(adata, use_rep, **settings):
    """Mean W1, and the largest relative mass error without the common rate, with which it is 0 by construction."""
    vgfm_sc.tl.fit(adata, "time", use_rep=use_rep, progress=False, **settings)
    model = vgfm_sc.get.model(adata)
    model.networks.rates.zero_()
    time, x = adata.obs["time"].to_numpy(dtype=float), np.asarray(adata.obsm[use_rep])
    points, counts = np.unique(time, return_counts=True)
    _, mass = model.simulate(x[time == points[0]], points, tol=1e-4)
    alone = np.abs(mass.sum(axis=1) / counts - 1).max()
    return {"w1": vgfm_sc.tl.evaluate(adata, max_cells=6000)["w1"].mean(), "rme_alone": alone}


def test_toggle_switch_growth_and_velocity():
    adata = vgfm_sc.datasets.toggle_switch(seed=3)
    result = score(adata, "X_genes", score=False)
    assert result["w1"] <= 0.030
    assert result["rme_alone"] <= 0.01
    growth, truth = adata.obs["vgfm_growth"], adata.obs["true_growth"]
    assert np.corrcoef(growth, truth)[0, 1] >= 0.975
    assert np.polyfit(truth, growth, 1)[0] == pytest.approx(1, abs=0.12)
    # the active branch moves along its true direction while it moves; at rest a direction means nothing
    moving = ((adata.obs["branch"] == "active") & adata.obs["time"].between(1, 2)).to_numpy()
    assert mean_cosine(adata.obsm["vgfm_velocity_genes"][moving], adata.obsm["true_velocity"][moving]) > 0.9


@pytest.fixture(scope="module")
def branching():
    adata = vgfm_sc.datasets.branching(n_cells=400, n_dims=5, times=(0.0, 0.5, 1.0, 2.0, 2.5), seed=0)
    adata.uns["score"] = score(adata, "X_state", score=False, fit_steps=60)
    return adata


def test_few_cells_at_many_times_are_not_carried_off_in_many_dimensions():
    """At the rate that is right for more cells, a variance was more than 1.5 times the observed one."""
    times = np.arange(0, 3.5, 0.5)
    adata = vgfm_sc.datasets.branching(n_dims=30, n_cells=150, times=times, seed=1, space_seed=0)
    vgfm_sc.tl.fit(adata, "time", use_rep="X_state", fit_steps=0, score=False, seed=1, progress=False)
    x, time = adata.obsm["X_state"], adata.obs["time"].to_numpy()
    positions, mass = vgfm_sc.get.model(adata).simulate(x[time == 0], times, tol=1e-4)
    for t, cells, weight in zip(times[1:], positions[1:], mass[1:], strict=True):
        centre = np.average(cells, axis=0, weights=weight)
        spread = np.average((cells - centre) ** 2, axis=0, weights=weight).sum() / x[time == t].var(axis=0).sum()
        assert 0.75 < spread < 1.4


def growth_by_type(adata):
    columns = {"fit": "vgfm_growth", "truth": "true_growth", "type": "cell_type"}
    table = pd.DataFrame({name: adata.obs[column] for name, column in columns.items()})
    return table.groupby("type", observed=True).mean()


def test_branching_velocity_and_order_of_growth_at_uneven_times(branching):
    assert branching.uns["score"]["rme_alone"] <= 0.01
    assert np.corrcoef(branching.obs["vgfm_growth"], branching.obs["true_growth"])[0, 1] > 0.82
    assert growth_by_type(branching)["fit"].idxmax() == "fate_a"
    velocity, truth = branching.obsm["vgfm_velocity_state"], branching.obsm["true_velocity"]
    assert mean_cosine(velocity, truth) > 0.85
    speed = np.linalg.norm(velocity, axis=1) / np.linalg.norm(truth, axis=1)
    assert np.median(speed) == pytest.approx(1, abs=0.15)


def test_branching_growth_of_each_type(branching):
    by_type = growth_by_type(branching)
    assert np.abs(by_type["fit"] - by_type["truth"]).max() < 0.2


def test_balanced_method_sees_no_growth_differences():
    adata = vgfm_sc.datasets.toggle_switch(n_per_branch=100, seed=0)
    vgfm_sc.tl.fit(adata, "time", use_rep="X_genes", method="otcfm", fit_steps=0, score=False, progress=False)
    later = adata.obs["time"] == 1
    expected = np.log((adata.obs["time"] == 2).sum() / later.sum())
    assert adata.obs["vgfm_growth"][later].mean() == pytest.approx(expected, abs=0.1)


def test_simulation_gene(shared_data):
    """Fitted to two thirds of the cells; the others are met nearly as well as the cells of the fit meet them."""
    adata = table_data(shared_data / "simulation_gene.csv")
    active = adata.obsm["X_data"][:, 1] ** 2
    truth, time = 8 * np.log1p(0.0625 * active / (1 + active)), adata.obs["time"].to_numpy()
    out = np.random.default_rng(0).random(adata.n_obs) < 1 / 3
    counts = {int(t): int((time == t).sum()) for t in np.unique(time)}
    rest, unseen = adata[~out].copy(), adata[out]
    vgfm_sc.tl.fit(rest, "time", use_rep="X_data", mass=counts, score=False, progress=False)
    model = vgfm_sc.get.model(rest)
    start = rest.obsm["X_data"][rest.obs["time"] == 0]
    positions, mass = model.simulate(start, sorted(counts), tol=1e-4)
    found, wanted = [], []
    for k in range(1, len(counts)):
        seen, others = (part.obsm["X_data"][part.obs["time"] == k] for part in (rest, unseen))
        found.append(wasserstein1(positions[k], others, mass[k]))
        wanted.append(wasserstein1(seen, others))
    assert np.mean(found) <= 1.08 * np.mean(wanted)
    _, growth = model(unseen.obs["time"].to_numpy(dtype=float), unseen.obsm["X_data"])
    assert np.corrcoef(growth, truth[out])[0, 1] >= 0.96
    assert np.polyfit(truth[out], growth, 1)[0] == pytest.approx(1, abs=0.15)


def test_dyngen(shared_data):
    result = score(table_data(shared_data / "dyngen.csv"), "X_data", score=False)
    assert result["w1"] <= 0.10 and result["rme_alone"] <= 0.02


def test_mouse_hematopoiesis(shared_data):
    result = score(table_data(shared_data / "mouse_hematopoiesis.csv"), "X_data", score=False, fit_steps=50)
    assert result["w1"] <= 0.036 and result["rme_alone"] <= 0.02


def test_gaussian_mixture_in_many_dimensions_keeps_masses_and_widths():
    adata = vgfm_sc.datasets.gaussian_mixture(seed=0)
    vgfm_sc.tl.fit(adata, "time", use_rep="X_gaussian", score=False, progress=False)
    x = adata.obsm["X_gaussian"]
    first, last = (x[(adata.obs["time"] == t).to_numpy()] for t in (0, 1))
    positions, masses = vgfm_sc.get.model(adata).simulate(first, [0, 1], tol=1e-4)
    found, mass = positions[-1], masses[-1]

    centre = np.zeros((3, x.shape[1]))
    centre[0, 0], centre[1, 0], centre[2, 1] = 1.0, -1.0, 2.5  # right, left, upper
    component = cdist(found, centre).argmin(axis=1)
    np.testing.assert_allclose(np.bincount(component, mass, minlength=3), [200, 200, 1000], rtol=0.05)
    for k in range(3):
        here, weight = found[component == k], mass[component == k]
        variance = np.average((here - np.average(here, axis=0, weights=weight)) ** 2, axis=0, weights=weight)
        assert variance.mean() == pytest.approx(0.005, rel=0.1)

    upper = first[:, 1] > 1.25
    side = np.where(np.arange(len(first)) % 2, 1.0, -1.0)  # which half leaves for which side is not told by position
    moved = first.copy()
    moved[~upper, 0] += side[~upper]
    reached = wasserstein1(moved, last, np.where(upper, 10.0, 1.0))
    assert wasserstein1(found, last, mass) <= 1.005 * reached


def mean_cosine(a, b):
    return float(np.mean((a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))))
