from __future__ import annotations

import importlib

import numpy as np
import pytest

pytest.importorskip("scvelo")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def test_stream_plot_takes_the_projected_velocity(branched, recipe, monkeypatch):
    # by its full name: the package has a function of the same name in its place
    plotting = importlib.import_module("scvelo.plotting.velocity_embedding_stream")

    def its_own(*args, **named):
        raise AssertionError("scVelo projects anew")

    drawn, on_grid = [], plotting.compute_velocity_on_grid

    def recorded(**named):
        drawn.append(named["V_emb"])
        return on_grid(**named)

    monkeypatch.setattr(plotting, "velocity_embedding", its_own)
    monkeypatch.setattr(plotting, "compute_velocity_on_grid", recorded)
    adata = recipe("scVelo", adata=branched.copy())["adata"]
    np.testing.assert_array_equal(drawn[0], adata.obsm["vgfm_velocity_umap"])
