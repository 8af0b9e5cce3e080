from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from vgfm_sc import get, tl

# couplings


def test_couplings_are_one_csr_matrix_for_each_interval(fitted):
    plans = get.couplings(fitted)
    counts = fitted.obs["time"].value_counts()
    assert list(plans) == [(0, 1), (1, 2), (2, 3), (3, 4)]
    for (t0, t1), plan in plans.items():
        assert isinstance(plan, csr_matrix)  # cellrank refuses csr_array
        assert plan.shape == (counts[t0], counts[t1])


def test_rows_sum_to_the_mass_sent_on_and_columns_to_1(fitted):
    for (t0, _), plan in get.couplings(fitted).items():
        np.testing.assert_allclose(plan.sum(1).A1, fitted.obs["vgfm_mass"][fitted.obs["time"] == t0], rtol=1e-3)
        np.testing.assert_allclose(plan.sum(0).A1, 1, rtol=1e-3)


def test_couplings_follow_the_order_of_the_cells(fitted):
    order = np.random.default_rng(0).permutation(fitted.n_obs)
    shuffled = fitted[order].copy()
    for (t0, t1), plan in get.couplings(shuffled).items():
        rows, columns = (order[shuffled.obs["time"] == t] for t in (t0, t1))
        wanted = csr_matrix(fitted.obsp["vgfm_coupling"])[rows][:, columns]
        assert (plan != wanted).nnz == 0
        np.testing.assert_allclose(plan.sum(1).A1, shuffled.obs["vgfm_mass"][shuffled.obs["time"] == t0], rtol=1e-3)


def test_couplings_of_some_cells_are_the_matching_entries(fitted):
    some = fitted[fitted.obs["branch"] == "active"].copy()
    plan = get.couplings(some)[0.0, 1.0]
    assert plan.shape == tuple((some.obs["time"] == t).sum() for t in (0, 1))


def test_intervals_of_a_dropped_time_point_are_left_out(fitted):
    assert list(get.couplings(fitted[fitted.obs["time"] != 1].copy())) == [(2, 3), (3, 4)]


def test_a_cell_is_coupled_to_cells_of_the_next_time_only(fitted):
    plan = fitted.obsp["vgfm_coupling"].tocoo()
    time = fitted.obs["time"].to_numpy()
    np.testing.assert_array_equal(time[plan.col], time[plan.row] + 1)


def test_missing_coupling_names_the_call(fitted):
    adata = fitted.copy()
    del adata.obsp["vgfm_coupling"]
    with pytest.raises(KeyError, match=r"obsp\['vgfm_coupling'\].*vgfm_sc\.tl\.fit"):
        get.couplings(adata)


# model


def test_model_gives_the_velocity_and_growth_that_were_written(fitted):
    v, g = get.model(fitted)(fitted.obs["time"].to_numpy(), fitted.obsm["X_genes"])
    assert v.shape == (fitted.n_obs, 2) and g.shape == (fitted.n_obs,) and v.dtype == g.dtype == np.float64
    np.testing.assert_allclose(v, fitted.obsm["vgfm_velocity_genes"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(g, fitted.obs["vgfm_growth"], rtol=1e-5, atol=1e-6)


def test_a_number_for_time_is_that_time_for_all_cells(fitted):
    model, x = get.model(fitted), fitted.obsm["X_genes"][:5]
    for one, all_ in zip(model(2, x), model(np.full(5, 2.0), x), strict=True):
        np.testing.assert_array_equal(one, all_)
    assert not np.allclose(model(0, x)[0], model(4, x)[0])


def test_model_leaves_its_input_alone_and_takes_any_layout(fitted):
    model, x = get.model(fitted), fitted.obsm["X_genes"][:5].copy()
    before = x.copy()
    wanted = model(1.0, x)[0]
    x.flags.writeable = False
    for layout in (x, np.asfortranarray(x), x.tolist(), x[::-1][::-1]):
        np.testing.assert_array_equal(model(1.0, layout)[0], wanted)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("shape", [(5, 3), (2,), (5, 2, 1)])
def test_model_refuses_positions_of_other_dimension(fitted, shape):
    with pytest.raises(ValueError, match=r"fitted on \(n, 2\)"):
        get.model(fitted)(0.0, np.zeros(shape))


def test_weights_that_do_not_fit_are_refused_by_name(fitted):
    adata = fitted.copy()
    adata.uns["vgfm"]["weights"]["velocity.0.weight"] = np.zeros((3, 3))
    with pytest.raises(ValueError, match=r"width 32.*velocity\.0\.weight"):
        get.model(adata)


def test_reading_changes_nothing(simulated, unchanged):
    with unchanged(simulated):
        get.model(simulated)(0.0, simulated.obsm["X_genes"])
        get.couplings(simulated)[0.0, 1.0].data[:] = 0
        table = get.trajectories(simulated)
        table.loc[:, ["mass", "genes1"]] = 0


# trajectories


def test_trajectories_are_a_long_table(simulated):
    table, stored = get.trajectories(simulated), simulated.uns["vgfm"]["trajectories"]
    assert list(table) == ["trajectory", "cell", "time", "mass", "genes1", "genes2"]
    assert len(table) == 7 * 9
    third = table[table["trajectory"] == 3]
    np.testing.assert_array_equal(third["time"], stored["times"])
    np.testing.assert_array_equal(third["mass"], stored["mass"][:, 3])
    np.testing.assert_array_equal(third[["genes1", "genes2"]], stored["positions"][:, 3])
    assert set(third["cell"]) == {stored["cells"][3]}


def test_trajectories_start_at_the_cell_they_name(simulated):
    start = get.trajectories(simulated).query("time == 0")
    cells = simulated[start["cell"].to_list()].obsm["X_genes"]
    np.testing.assert_allclose(start[["genes1", "genes2"]], cells, atol=1e-5)


@pytest.mark.parametrize("read", [get.model, get.couplings, get.trajectories])
def test_without_a_fit_the_call_to_make_is_named(unfitted, read):
    with pytest.raises(KeyError, match=r"vgfm_sc\.tl\.fit"):
        read(unfitted)


def test_without_trajectories_the_call_to_make_is_named(fitted):
    with pytest.raises(KeyError, match=r"vgfm_sc\.tl\.simulate"):
        get.trajectories(fitted)


def test_another_key_is_read(simulated, small):
    adata = simulated.copy()
    tl.fit(adata, "time", key_added="b", **{**small, "match_steps": 2, "fit_steps": 0})
    assert list(get.couplings(adata, "b")) == list(get.couplings(adata))
    with pytest.raises(KeyError, match="key='b'"):
        get.trajectories(adata, "b")


def test_couplings_need_no_representation(fitted):
    adata = fitted.copy()
    del adata.obsm["X_genes"]
    for plan, wanted in zip(get.couplings(adata).values(), get.couplings(fitted).values(), strict=True):
        assert (plan != wanted).nnz == 0
