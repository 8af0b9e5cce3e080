from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from vgfm_sc import get, pl, tl

mudata = pytest.importorskip("mudata")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*pull_on_update.*:FutureWarning")

LAST_DAYS = 2


@pytest.fixture
def joint(unfitted):
    """Days and a joint representation at the top level, the same representation in one of two modalities."""
    rna = unfitted.copy()
    rna.obs["day"] = rna.obs["time"]
    rna.obsm["X_pca"] = rna.obsm["X_genes"]
    atac = ad.AnnData(np.ones((rna.n_obs, 3), dtype=np.float32), obs=pd.DataFrame(index=rna.obs_names))
    with mudata.set_options(pull_on_update=False):
        mdata = mudata.MuData({"rna": rna, "atac": atac})
        mdata.obs["day"], mdata.obs["branch"] = rna.obs["day"], rna.obs["branch"]
        mdata.obsm["X_joint"] = rna.obsm["X_genes"].copy()
        yield mdata


@pytest.fixture
def settings(small):
    return {**small, "use_rep": "X_joint"}


@pytest.fixture
def fitted_joint(joint, settings):
    tl.fit(joint, "day", **settings)
    return joint


def test_conditions_are_read_at_the_top_level(joint, settings):
    joint.obs["condition"] = np.where(np.arange(joint.n_obs) % 2, "treated", "control")
    tl.fit(joint, "day", condition_key="condition", **settings)
    assert tl.evaluate(joint, max_cells=30)["condition"].tolist() == ["control"] * 4 + ["treated"] * 4
    tl.fate(joint, "branch")
    tl.simulate(joint, n_cells=5, condition="treated")
    joint["rna"].obs["group"] = "a"
    with pytest.raises(KeyError, match=r"A modality has it: pass mdata\['rna'\]"):
        tl.fit(joint, "day", condition_key="group", **settings)


def test_recipe_fits_a_modality_and_the_whole(joint, recipe, monkeypatch, small):
    fit, few = tl.fit, {name: value for name, value in small.items() if name != "use_rep"}
    monkeypatch.setattr(tl, "fit", lambda *args, **named: fit(*args, **few, **named))
    recipe("MuData", mdata=joint)
    assert "vgfm_velocity_pca" in joint["rna"].obsm
    assert {"vgfm_growth", "vgfm_mass"} < set(joint.obs)
    np.testing.assert_array_equal(joint.obsm["vgfm_velocity_joint"], joint["rna"].obsm["vgfm_velocity_pca"])
    assert joint.obsp["vgfm_coupling"].nnz == joint["rna"].obsp["vgfm_coupling"].nnz


def test_tools_and_plots_read_what_the_fit_wrote(fitted_joint):
    mdata = fitted_joint
    mdata.obsm["X_umap"] = mdata.obsm["X_joint"] @ [[1.0, 1.0], [0.0, 1.0]]
    tl.simulate(mdata, n_cells=5)
    tl.project(mdata)
    tl.annotate(mdata, "branch")
    tl.descendants(mdata, (mdata.obs["day"] == 0).to_numpy())
    assert tl.evaluate(mdata)["w1"].notna().all()
    assert list(get.couplings(mdata)) == [(0.0, 1.0), (1.0, 2.0), (2.0, 3.0), (3.0, 4.0)]
    assert get.trajectories(mdata)["trajectory"].nunique() == 5
    for plot in (pl.trajectories, pl.velocity, pl.growth, pl.mass):
        plot(mdata, show=False)
    pl.velocity(mdata, "umap", color="branch", show=False)


def test_copy_leaves_the_object_as_it_is(joint, settings):
    found = tl.fit(joint, "day", copy=True, **settings)
    assert isinstance(found, mudata.MuData)
    assert "vgfm" in found.uns and "vgfm_velocity_joint" in found.obsm
    assert "vgfm" not in joint.uns and "vgfm_velocity_joint" not in joint.obsm


def test_view_becomes_an_object_of_its_own(joint, settings):
    view = joint[joint.obs["day"] >= LAST_DAYS]
    with pytest.warns(UserWarning, match="adata is a view"):
        tl.fit(view, "day", **settings)
    assert not view.is_view
    assert view.obsm["vgfm_velocity_joint"].shape == (view.n_obs, 2)
    assert view["rna"].n_obs == view.n_obs
    assert "vgfm" not in joint.uns


@pytest.mark.filterwarnings("ignore:.*zarr.*", "ignore:.*Zarr.*", "ignore:.*Object at .* is not recognized")
@pytest.mark.parametrize("suffix", ["h5mu", "zarr"])
def test_what_is_written_can_be_stored(fitted_joint, tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    getattr(fitted_joint, f"write_{suffix}")(path)
    again = (mudata.read_h5mu if suffix == "h5mu" else mudata.read_zarr)(path)
    for mdata in (fitted_joint, again):
        tl.simulate(mdata, n_cells=5)
    wanted = fitted_joint.uns["vgfm"]["trajectories"]["positions"]
    np.testing.assert_array_equal(again.uns["vgfm"]["trajectories"]["positions"], wanted)


def test_backed_object_is_fitted_but_not_copied(fitted_joint, tmp_path, settings):
    fitted_joint.write_h5mu(tmp_path / "a.h5mu")
    backed = mudata.read_h5mu(tmp_path / "a.h5mu", backed=True)
    tl.fit(backed, "day", **settings)
    with pytest.raises(ValueError, match="backed mode, pass a filename"):
        tl.fit(backed, "day", copy=True, **settings)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda m: tl.fit(m, "day", use_rep=None),
            TypeError,
            r"expression.*mdata\['rna'\] or mdata\['atac'\]",
        ),
        (lambda m: tl.fit(m, "day"), KeyError, r"'X_pca' not found.*A modality has it: pass mdata\['rna'\]\."),
        (lambda m: tl.fit(m, "time", use_rep="X_joint"), KeyError, r"'time' not found.*pass mdata\['rna'\]\."),
        (lambda m: tl.rank_genes(m), TypeError, r"mdata\['rna'\]"),
        (lambda m: tl.gene_velocity(m), TypeError, r"mdata\['rna'\]"),
        (lambda m: tl.regulators(m), TypeError, r"mdata\['rna'\]"),
    ],
    ids="genes representation time rank_genes gene_velocity regulators".split(),
)
def test_what_only_a_modality_has_is_pointed_to(fitted_joint, call, error, message):
    before = {slot: sorted(getattr(fitted_joint, slot)) for slot in ("obs", "obsm", "obsp", "uns")}
    with pytest.raises(error, match=message):
        call(fitted_joint)
    assert {slot: sorted(getattr(fitted_joint, slot)) for slot in before} == before
