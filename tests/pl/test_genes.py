from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex

from vgfm_sc import pl
from vgfm_sc.pl._genes import weighted_quantile

COLORS = {"a": "#ff0000", "b": "#008000", "c": "#0000ff"}


def stored(adata) -> dict:
    return adata.uns["vgfm"]["trajectories"]


def band(ax: Axes, k: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper edge of band ``k`` at each time."""
    corners = ax.collections[k].get_paths()[0].vertices
    times = ax.lines[k].get_xdata()
    edges = [corners[corners[:, 0] == time, 1] for time in times]
    return np.array([edge.min() for edge in edges]), np.array([edge.max() for edge in edges])


def brute_force(values: np.ndarray, weights: np.ndarray, q: float) -> float:
    """The smallest value that, with those below it, has the share ``q`` of the weight."""
    for value in np.sort(values):
        if weights[values <= value].sum() >= q * weights.sum():
            return value
    raise AssertionError


def test_lines_are_means_over_the_mass_and_bands_its_middle_half(made):
    axes = pl.genes(made, ["g1", "g0"], show=False)
    assert [ax.get_title() for ax in axes] == ["g1", "g0"] and axes[0].get_ylabel() == "expression"
    mass = stored(made)["mass"].astype(float)
    for ax, k in zip(axes, (1, 0), strict=True):
        values = stored(made)["values"]["values"][:, :, k].astype(float)
        (line,) = ax.lines
        np.testing.assert_array_equal(line.get_xdata(), stored(made)["times"])
        np.testing.assert_allclose(line.get_ydata(), (values * mass).sum(axis=1) / mass.sum(axis=1))
        low, high = band(ax)
        np.testing.assert_allclose(low, [brute_force(v, m, 0.25) for v, m in zip(values, mass, strict=True)])
        np.testing.assert_allclose(high, [brute_force(v, m, 0.75) for v, m in zip(values, mass, strict=True)])
        assert ax.get_xlabel() == "day"


def test_quantiles_of_equal_weights_are_those_of_numpy():
    values = np.random.default_rng(0).normal(size=(4, 100))
    for q in (0.1, 0.25, 0.5, 0.75, 1.0):
        found = weighted_quantile(values, np.full_like(values, 3.0), q)
        np.testing.assert_array_equal(found, np.quantile(values, q, axis=1, method="inverted_cdf"))


def test_quantiles_pass_over_what_has_no_weight():
    values, weights = np.array([[0.0, 1.0, 2.0, 9.0]]), np.array([[0.0, 1.0, 1.0, 0.0]])
    assert [weighted_quantile(values, weights, q)[0] for q in (0.25, 0.75, 1.0)] == [1, 2, 2]


def test_a_line_for_each_label_at_the_end(made):
    codes = stored(made)["labels"]["type"]["codes"]
    codes[-1] = [0, 2, 0, 2, 2, 0, 0]  # none ends as b
    axes = pl.genes(made, "g0", color="type", palette=COLORS, show=False)
    values, mass = stored(made)["values"]["values"][:, :, 0].astype(float), stored(made)["mass"].astype(float)
    (ax,) = axes
    assert [to_hex(line.get_color()) for line in ax.lines] == [COLORS["a"], COLORS["c"]]
    for k, line in zip((0, 2), ax.lines, strict=True):
        some = codes[-1] == k
        np.testing.assert_allclose(line.get_ydata(), np.average(values[:, some], axis=1, weights=mass[:, some]))
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "c"]


def test_genes_that_rank_first_in_growth_are_taken(made):
    made.uns["vgfm"]["genes"] = {"growth": pd.DataFrame({"names": ["g1", "g0", "g2"]})}
    assert [ax.get_title() for ax in pl.genes(made, n_genes=2, show=False)] == ["g1", "g0"]
    assert [ax.get_title() for ax in pl.genes(made, n_genes=1, show=False)] == ["g1"]
    with pytest.raises(KeyError, match=r"do not carry \['g2'\].*vgfm_sc\.tl\.annotate\(adata, \['g2'\]\)"):
        pl.genes(made)


def test_without_a_ranking_the_first_that_are_carried_are_taken(made):
    assert [ax.get_title() for ax in pl.genes(made, show=False)] == ["g0", "g1"]
    assert [ax.get_title() for ax in pl.genes(made, n_genes=1, show=False)] == ["g0"]


def test_genes_that_are_not_carried_name_the_call(made, unchanged):
    with unchanged(made), pytest.raises(KeyError, match=r"\['g2', 'g9'\].*tl\.annotate\(adata, \['g2', 'g9'\]"):
        pl.genes(made, ["g0", "g2", "g9"])
    assert plt.get_fignums() == []


@pytest.mark.parametrize("arguments", [{"genes": []}, {"n_genes": 0}])
def test_no_genes_are_refused(made, arguments):
    with pytest.raises(ValueError, match=r"No genes to draw.*\['g0', 'g1'\]"):
        pl.genes(made, **arguments)
    assert plt.get_fignums() == []


def test_many_genes_go_in_several_rows(made):
    names = [f"n{k}" for k in range(5)]
    stored(made)["values"] = {"names": np.array(names), "values": np.ones((5, 7, 5), dtype=np.float32)}
    axes = pl.genes(made, n_genes=5, show=False)
    assert [ax.get_title() for ax in axes] == names
    assert axes[0].get_subplotspec().get_gridspec().get_geometry() == (2, 3)
    (spare,) = [ax for ax in axes[0].figure.axes if ax not in axes]
    assert not spare.axison and not spare.has_data()


def test_lines_end_where_all_have_died(made):
    stored(made)["mass"][-2:] = 0
    (line,) = pl.genes(made, "g0", show=False)[0].lines
    np.testing.assert_array_equal(line.get_xdata(), [0, 0.5, 1])
    assert np.isfinite(line.get_ydata()).all()
