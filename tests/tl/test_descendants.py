from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

from vgfm_sc import datasets, get, tl

INTO_1 = [[1.0, 0.5, 0.0], [0.0, 0.5, 1.0]]
INTO_2 = [[1.0, 0.0], [0.0, 0.5], [0.0, 0.5]]
NAN = np.nan


@pytest.fixture(scope="module")
def toy(small) -> ad.AnnData:
    """Two cells that become three and then two, with plans made by hand; copy before changing."""
    x = np.random.default_rng(0).standard_normal((7, 2))
    obs = pd.DataFrame({"time": [0, 0, 1, 1, 1, 2, 2]}, index=[f"cell{k}" for k in range(7)])
    adata = ad.AnnData(obs=obs, obsm={"X_genes": x})
    tl.fit(adata, "time", **{**small, "match_steps": 1, "fit_steps": 0})
    adata.obsp["vgfm_coupling"] = joined(INTO_1, INTO_2)
    return adata


def joined(into_1, into_2) -> csr_matrix:
    plan = np.zeros((7, 7), dtype=np.float32)
    plan[:2, 2:5], plan[2:5, 5:] = into_1, into_2
    return csr_matrix(plan)


def at(adata, time) -> np.ndarray:
    return np.flatnonzero(adata.obs["time"] == time)


def descend(adata, cells, to=None, **arguments) -> np.ndarray:
    adata = adata.copy()
    assert tl.descendants(adata, cells, to, **arguments) is None
    assert adata.obs["vgfm_descendants"].dtype == np.float32
    return adata.obs["vgfm_descendants"].to_numpy()


def ascend(adata, cells, to=None, **arguments) -> np.ndarray:
    adata = adata.copy()
    assert tl.ancestors(adata, cells, to, **arguments) is None
    assert adata.obs["vgfm_ancestors"].dtype == np.float32
    return adata.obs["vgfm_ancestors"].to_numpy()


@pytest.mark.parametrize(
    ("cells", "to", "wanted"),
    [
        ([0], None, [1, 0, 1, 0.5, 0, 1, 0.25]),
        ([1], None, [0, 1, 0, 0.5, 1, 0, 0.75]),
        ([0, 1], None, [1, 1, 1, 1, 1, 1, 1]),
        ([0], 1, [1, 0, 1, 0.5, 0, NAN, NAN]),
        ([3], None, [NAN, NAN, 0, 1, 0, 0, 0.5]),
        ([0.5, 2.0, 0, 0, 0, 0, 0], None, [0.5, 2, 0.5, 1.25, 2, 0.5, 1.625]),
    ],
)
def test_descendants_by_hand(toy, cells, to, wanted):
    np.testing.assert_allclose(descend(toy, cells, to), wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("cells", "to", "wanted"),
    [
        ([5], None, [1, 0, 1, 0, 0, 1, 0]),
        ([6], None, [0.25, 0.75, 0, 0.5, 0.5, 0, 1]),
        ([5, 6], None, [0.625, 0.375, 0.5, 0.25, 0.25, 0.5, 0.5]),
        ([6], 1, [NAN, NAN, 0, 0.5, 0.5, 0, 1]),
        ([3], None, [0.5, 0.5, 0, 1, 0, NAN, NAN]),
        ([0, 0, 0, 0, 0, 3.0, 1.0], None, [0.8125, 0.1875, 0.75, 0.125, 0.125, 0.75, 0.25]),
    ],
)
def test_ancestors_by_hand(toy, cells, to, wanted):
    np.testing.assert_allclose(ascend(toy, cells, to), wanted, atol=1e-6)


def test_what_a_cell_counts_for_does_not_matter(toy):
    heavy = toy.copy()  # cells of time 1 hold 2, of time 2 they hold 6
    heavy.obsp["vgfm_coupling"] = joined(2 * np.asarray(INTO_1), 6 * np.asarray(INTO_2))
    np.testing.assert_allclose(descend(heavy, [0]), descend(toy, [0]), atol=1e-6)
    np.testing.assert_allclose(ascend(heavy, [6]), ascend(toy, [6]), atol=1e-6)


def test_all_cells_descend_from_all_cells(fitted):
    found = descend(fitted, at(fitted, 1))
    for time in (1, 2, 3, 4):
        np.testing.assert_allclose(found[at(fitted, time)], 1, rtol=1e-6)
    assert np.isnan(found[at(fitted, 0)]).all()


def test_number_of_descendants_is_the_mass_that_the_couplings_send_on(fitted):
    some = (fitted.obs["time"] == 1) & (fitted.obs["branch"] == "active")
    found = descend(fitted, some)
    np.testing.assert_allclose(found[at(fitted, 2)].sum(), fitted.obs["vgfm_mass"][some].sum(), rtol=1e-3)
    others = descend(fitted, (fitted.obs["time"] == 1) & ~some)
    np.testing.assert_allclose((found + others)[at(fitted, 4)], 1, rtol=1e-5)


def test_chained_plans_normalised_at_each_time_are_those_of_wot(fitted):
    some = at(fitted, 0)[:20]
    plans, forward, backward = get.couplings(fitted), descend(fitted, some), ascend(fitted, at(fitted, 4)[:20])
    p = np.isin(at(fitted, 0), some) / 20
    for time in (1, 2, 3, 4):
        p = p @ plans[time - 1.0, float(time)]
        share = forward[at(fitted, time)]
        np.testing.assert_allclose(share / share.sum(), p / p.sum(), rtol=1e-3, atol=1e-6)
    p = np.isin(at(fitted, 4), at(fitted, 4)[:20]) / 20
    for time in (3, 2, 1, 0):
        p = plans[float(time), time + 1.0] @ p
        np.testing.assert_allclose(backward[at(fitted, time)], p / p.sum(), rtol=1e-3, atol=1e-6)


def test_ancestors_of_all_cells_are_as_likely_as_they_multiply(fitted):
    found = ascend(fitted, at(fitted, 4))
    for time in (0, 1, 2, 3, 4):
        np.testing.assert_allclose(found[at(fitted, time)].sum(), 1, rtol=1e-5)
    mass = fitted.obs["vgfm_mass"].to_numpy()[at(fitted, 3)]
    np.testing.assert_allclose(found[at(fitted, 3)], mass / mass.sum(), rtol=2e-3)


def test_intervals_compose(fitted):
    through = descend(fitted, at(fitted, 0)[:30])
    halfway = np.where(fitted.obs["time"] == 2, np.nan_to_num(through), 0.0)
    later = fitted.obs["time"] > 2
    np.testing.assert_allclose(descend(fitted, halfway)[later], through[later], rtol=1e-5)
    back = ascend(fitted, at(fitted, 4)[:30])
    halfway = np.where(fitted.obs["time"] == 2, np.nan_to_num(back), 0.0)
    earlier = fitted.obs["time"] < 2
    np.testing.assert_allclose(ascend(fitted, halfway)[earlier], back[earlier], rtol=1e-5)


def test_descendants_and_ancestors_say_the_same(fitted):
    """The probability that a late cell descends from early ones, from either end."""
    early, late = at(fitted, 0)[:25], at(fitted, 4)[40:]
    np.testing.assert_allclose(descend(fitted, early)[late].mean(), ascend(fitted, late)[early].sum(), rtol=1e-5)


@pytest.mark.parametrize("form", [list, np.asarray, "mask", "series", "nullable", "weights"])
def test_cells_may_be_positions_a_mask_or_weights(fitted, form):
    chosen = at(fitted, 1)[[2, 5, 7]]
    mask = np.isin(np.arange(fitted.n_obs), chosen)
    series = pd.Series(mask, fitted.obs_names)
    forms = {"mask": mask, "series": series, "nullable": series.astype("boolean"), "weights": mask.astype(float)}
    cells = forms[form] if isinstance(form, str) else form(chosen)
    np.testing.assert_array_equal(descend(fitted, cells), descend(fitted, chosen))


def test_order_of_the_cells_does_not_matter(fitted):
    order = np.random.default_rng(0).permutation(fitted.n_obs)
    shuffled = fitted[order].copy()
    mask = ((fitted.obs["time"] == 1) & (fitted.obs["branch"] == "active")).to_numpy()
    np.testing.assert_allclose(descend(shuffled, mask[order]), descend(fitted, mask)[order], rtol=1e-5)
    np.testing.assert_allclose(ascend(shuffled, mask[order]), ascend(fitted, mask)[order], rtol=1e-5)


def test_dropped_cells_leave_the_others_well_defined(fitted):
    kept = fitted[np.random.default_rng(0).random(fitted.n_obs) < 0.5].copy()
    found = descend(kept, at(kept, 0))
    np.testing.assert_allclose(found[~np.isnan(found)], 1, rtol=1e-6)
    found = ascend(kept, at(kept, 4))
    for time in range(5):
        np.testing.assert_allclose(np.nansum(found[at(kept, time)]), 1, rtol=1e-5)


def test_without_a_time_point_the_others_can_be_reached(fitted):
    kept = fitted[fitted.obs["time"] != 2].copy()
    with pytest.raises(ValueError, match=r"\(1.0, 2.0\).*dropped"):
        tl.descendants(kept, at(kept, 0))
    assert (descend(kept, at(kept, 0), 1)[at(kept, 1)] > 0).all()
    assert (ascend(kept, at(kept, 4), 3)[at(kept, 3)] > 0).any()


def test_cells_held_out_have_no_part(unfitted, small, unchanged):
    adata = tl.fit(unfitted, "time", copy=True, validation=0.25, **small)
    out = adata.obs["vgfm_mass"].isna() & (adata.obs["time"] < 4)
    found = descend(adata, at(adata, 0))
    assert np.isnan(found[out]).all() and out.any()
    coupled = ~np.isnan(found)
    np.testing.assert_allclose(found[coupled], 1, rtol=1e-6)
    last = adata.obs["time"] == 4
    assert (coupled & last).sum() == last.sum() - round(0.25 * last.sum())
    with unchanged(adata), pytest.raises(ValueError, match="held out"):
        tl.descendants(adata, np.flatnonzero(out & (adata.obs["time"] == 1)))


def test_columns_are_replaced_named_and_dropped_with_the_fit(fitted, small):
    adata = fitted.copy()
    tl.descendants(adata, at(adata, 0))
    tl.descendants(adata, at(adata, 1))
    assert adata.obs["vgfm_descendants"].isna().sum() == len(at(adata, 0))
    tl.ancestors(adata, at(adata, 4), key_added="origin")
    assert "origin" in adata.obs and "vgfm_ancestors" not in adata.obs
    tl.fit(adata, "time", **{**small, "match_steps": 1, "fit_steps": 0})
    assert not {"origin", "vgfm_descendants"} & set(adata.obs)


@pytest.mark.filterwarnings("ignore:.*zarr.*", "ignore:.*Zarr.*", "ignore:.*Object at .* is not recognized")
@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
def test_what_is_written_can_be_stored_and_used_again(fitted, tmp_path, suffix):
    adata = fitted.copy()
    tl.descendants(adata, at(adata, 0)[:9])
    path = tmp_path / f"a.{suffix}"
    getattr(adata, f"write_{suffix}")(path)
    again = (ad.read_h5ad if suffix == "h5ad" else ad.read_zarr)(path)
    np.testing.assert_array_equal(again.obs["vgfm_descendants"], adata.obs["vgfm_descendants"])
    tl.descendants(again, at(again, 0)[:9])
    np.testing.assert_array_equal(again.obs["vgfm_descendants"], adata.obs["vgfm_descendants"])


@pytest.mark.parametrize("tool", [tl.descendants, tl.ancestors])
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"cells": [300], "key": "other"}, KeyError, r"vgfm_sc\.tl\.fit.*key=\['vgfm'\]"),
        ({"cells": [0, 866]}, ValueError, "several time points"),
        ({"cells": []}, ValueError, "boolean mask of 867 cells"),
        ({"cells": [-1]}, ValueError, "867 weights"),
        ({"cells": [900]}, ValueError, "867 weights"),
        ({"cells": [300, 300]}, ValueError, "more than once"),
        ({"cells": np.ones(5, dtype=bool)}, ValueError, "boolean mask of 867 cells"),
        ({"cells": np.zeros(867, dtype=bool)}, ValueError, "selects none of the 867 cells"),
        ({"cells": np.zeros(867)}, ValueError, "some above"),
        ({"cells": np.ones(867)}, ValueError, "several time points"),
        ({"cells": np.full(867, np.nan)}, ValueError, "finite"),
        ({"cells": np.linspace(-1, 0, 867)}, ValueError, "at least 0"),
        ({"cells": ["cell1"]}, ValueError, "positions of cells"),
        ({"cells": [300], "to": 1.5}, ValueError, r"No cells at time 1.5.*\[0.0, 1.0"),
        ({"cells": [300], "to": "later"}, TypeError, "to must be a time, as a number"),
        ({"cells": [300], "key_added": "a/b"}, ValueError, "'/'"),
        ({"cells": [300], "key_added": "branch"}, ValueError, r"obs\['branch'\].*not written"),
        ({"cells": [300], "key_added": "vgfm_growth"}, ValueError, "not written"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_bad_input_is_refused_and_changes_nothing(fitted, unchanged, tool, arguments, error, message):
    adata = fitted.copy()
    with unchanged(adata), pytest.raises(error, match=message):
        tool(adata, **arguments)


def test_there_is_nothing_after_the_last_time_nor_before_the_first(fitted, unchanged):
    adata = fitted.copy()
    first, last = at(adata, 0), at(adata, 4)
    for tool, cells, to, message in (
        (tl.descendants, last, None, "time 4; a time point after it is needed, there is none"),
        (tl.descendants, first, 0, "after it is needed, got to=0"),
        (tl.descendants, at(adata, 2), 1, "after it is needed, got to=1"),
        (tl.ancestors, first, None, "time 0; a time point before it is needed, there is none"),
        (tl.ancestors, at(adata, 2), 3, "before it is needed, got to=3"),
    ):
        with unchanged(adata), pytest.raises(ValueError, match=message):
            tool(adata, cells, to)


def test_ancestors_that_have_been_dropped_are_an_error(toy, unchanged):
    kept = toy[1:].copy()  # the only ancestor of cells 2 and 5 is gone
    with unchanged(kept), pytest.raises(ValueError, match="No ancestor"):
        tl.ancestors(kept, [4])


def test_committed_cells_keep_to_their_fate(small):
    adata = datasets.branching(n_cells=150, seed=0)
    tl.fit(adata, "time", **{**small, "use_rep": "X_state", "match_steps": 1, "fit_steps": 0})
    fate = adata.obs["true_fate"] == "fate_a"
    tl.descendants(adata, (adata.obs["time"] == 2) & fate)
    tl.ancestors(adata, (adata.obs["time"] == 3) & fate)
    last, before = adata.obs["time"] == 3, adata.obs["time"] == 2
    assert adata.obs["vgfm_descendants"][last & fate].mean() > 0.95
    assert adata.obs["vgfm_descendants"][last & ~fate].mean() < 0.05
    assert adata.obs["vgfm_ancestors"][before & fate].sum() > 0.95
