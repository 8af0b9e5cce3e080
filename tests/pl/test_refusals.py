"""What plots refuse, and that nothing is left behind."""

from __future__ import annotations

import inspect

import anndata as ad
import matplotlib.pyplot as plt
import numpy as np
import pytest

from vgfm_sc import pl

ON_BASIS = [
    "compare",
    "dynamics",
    "fate",
    "growth",
    "landscape",
    "perturb",
    "snapshots",
    "trajectories",
    "uncertainty",
    "velocity",
]
PANELS = ["clones", "compare", "dynamics", "fate", "genes", "loss", "perturb", "screen", "snapshots", "uncertainty"]

every = pytest.mark.parametrize("name", pl.__all__)
on_basis = pytest.mark.parametrize("name", ON_BASIS)


def draw(name: str, *args, **arguments):
    return getattr(pl, name)(*args, **arguments)


@every
def test_without_a_fit_the_call_to_make_is_named(name):
    adata = ad.AnnData(obsm={"X_r": np.eye(3)})
    with pytest.raises(KeyError, match=r"vgfm_sc\.tl\.holdout" if name == "holdout" else r"vgfm_sc\.tl\.fit"):
        draw(name, adata)
    assert plt.get_fignums() == []


@on_basis
def test_an_unknown_basis_lists_those_there_are(made, name):
    with pytest.raises(KeyError, match=r"'tsne' not found.*'r', 'umap'"):
        draw(name, made, "tsne")
    assert plt.get_fignums() == []


@on_basis
def test_a_basis_of_one_dimension_is_refused(made, name):
    made.obsm["X_line"], made.obsm["vgfm_velocity_line"] = made.obsm["X_r"][:, :1], made.obsm["vgfm_velocity_r"][:, :1]
    stored = made.uns["vgfm"]["trajectories"]
    stored["positions_line"] = stored["positions"][..., :1]
    stored = made.uns["vgfm"]["perturbations"]["g0+g1"]
    stored["positions_line"] = stored["positions_changed_line"] = stored["positions"][..., :1]
    with pytest.raises(ValueError, match="one dimension"):
        draw(name, made, "line")
    assert plt.get_fignums() == []


@pytest.mark.parametrize("name", PANELS)
def test_axes_that_belong_to_no_grid_cannot_make_room_for_panels(made, name):
    fig = plt.figure()
    with pytest.raises(ValueError, match=r"plt\.subplots"):
        draw(name, made, ax=fig.add_axes((0.1, 0.1, 0.8, 0.8)))


CARRY = ["dynamics", "genes", "mass", "snapshots", "trajectories"]
MISSING = {
    "trajectories": (
        "simulate",
        [
            ("animate", {}),
            ("dynamics", {}),
            ("genes", {}),
            ("mass", {}),
            ("snapshots", {}),
            ("trajectories", {}),
            ("landscape", {"trajectories": True}),
        ],
    ),
    "velocity on a basis": ("project", [("velocity", {"basis": "umap"}), ("dynamics", {"basis": "umap"})]),
    "trajectories on a basis": (
        "project",
        [
            *((n, {"basis": "umap"}) for n in ("dynamics", "snapshots", "trajectories")),
            ("landscape", {"basis": "umap", "trajectories": True}),
        ],
    ),
    "labels": (
        "annotate",
        [(n, {"color": "type"}) for n in CARRY],
    ),
    "genes": ("annotate", [("genes", {})]),
    "fates": ("fate", [("fate", {}), ("fate", {"kind": "bar"}), ("trajectories", {"color": "fate"})]),
    "landscape": ("landscape", [("landscape", {})]),
    "clones": ("compare_clones", [("clones", {})]),
    "perturbations": ("perturb", [("perturb", {})]),
    "perturbations on a basis": ("project", [("perturb", {"basis": "umap"})]),
    "comparison": ("compare", [("compare", {})]),
    "screen": ("screen", [("screen", {}), ("screen", {"effect": "energy"})]),
    "models": ("fit", [("uncertainty", {})]),
}


@pytest.mark.parametrize("what", MISSING)
def test_the_call_that_is_missing_is_named(made, unchanged, what):
    result = made.uns["vgfm"]
    if what == "trajectories":
        del result["trajectories"]
    elif what == "velocity on a basis":
        del made.obsm["vgfm_velocity_umap"]
    elif what == "trajectories on a basis":
        del result["trajectories"]["positions_umap"]
    elif what == "labels":
        del result["trajectories"]["labels"]
    elif what == "genes":
        del result["trajectories"]["values"]
    elif what == "fates":
        del made.obsm["vgfm_fate"], result["fate"]
    elif what == "clones":
        del result["clones"]
    elif what in ("comparison", "perturbations", "screen"):
        del result[what]
    elif what == "perturbations on a basis":
        del result["perturbations"]["g0+g1"]["positions_changed_umap"]
    elif what == "landscape":
        del made.obs["vgfm_landscape"], result["landscape"]
    else:
        del made.obs["vgfm_growth_sd"]
    call, plots = MISSING[what]
    for name, arguments in plots:
        with unchanged(made), pytest.raises(KeyError, match=rf"vgfm_sc\.tl\.{call}\("):
            draw(name, made, **arguments)
        assert plt.get_fignums() == []


LOOKS = [
    (name, argument)
    for name in pl.__all__
    for argument in inspect.signature(getattr(pl, name)).parameters
    if argument in ("cmap", "palette", "na_color", "legend_loc") and (name, argument) != ("snapshots", "legend_loc")
]


@pytest.mark.parametrize(("name", "argument"), LOOKS)
def test_what_matplotlib_does_not_know_leaves_no_figure_open(made, name, argument):
    arguments = {argument: "nonsense"}
    if argument == "na_color":  # used in cells without a value alone
        made.obs["type"] = made.obs["type"].where(made.obs["day"] > 0)
    if "color" in inspect.signature(getattr(pl, name)).parameters and argument != "cmap":
        arguments["color"] = "type"
    if name == "fate" and argument == "legend_loc":
        arguments["kind"] = "bar"
    if name == "growth" and argument == "na_color":
        arguments["by_time"] = True
    with pytest.raises(ValueError, match=None if argument == "na_color" else "nonsense"):
        draw(name, made, **arguments)
    assert plt.get_fignums() == []
