"""What the tools write, drawn: as it is, and read from a file."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from vgfm_sc import pl


@pytest.mark.parametrize("name", ["dynamics", "uncertainty"])
def test_what_the_tools_write_is_drawn_into_a_file(written, unchanged, name, tmp_path):
    with unchanged(written):
        fig = getattr(pl, name)(written, return_fig=True)
    fig.savefig(tmp_path / "a.pdf")
    assert (tmp_path / "a.pdf").stat().st_size > 5000


@pytest.fixture(scope="module")
def read_again(written, tmp_path_factory) -> ad.AnnData:
    path = tmp_path_factory.mktemp("written") / "a.h5ad"
    written.write_h5ad(path)
    return ad.read_h5ad(path)


@pytest.mark.parametrize("name", [name for name in pl.__all__ if name not in ("animate", "dynamics")])
def test_a_file_read_again_gives_the_same_picture(written, read_again, picture, name):
    color = {"color": "type"} if name in ("genes", "mass", "snapshots", "trajectories", "velocity") else {}
    np.testing.assert_array_equal(picture(name, read_again, **color), picture(name, written, **color))


def test_the_tests_draw_what_the_tools_write(made, written):
    def compare(ours, theirs, where):
        if isinstance(ours, dict):
            assert set(ours) <= set(theirs), where
            for name in ours:
                compare(ours[name], theirs[name], f"{where}[{name!r}]")
        elif isinstance(ours, pd.DataFrame):
            assert list(ours) == list(theirs) or where.endswith("['vgfm_fate']"), where  # whose columns are clusters
            assert {t.kind for t in ours.dtypes} == {t.kind for t in theirs.dtypes}, where
        else:
            ours, theirs = np.asarray(ours), np.asarray(theirs)
            assert (ours.ndim, ours.dtype.kind) == (theirs.ndim, theirs.dtype.kind), where

    names = {"X_r": "X_genes", "vgfm_velocity_r": "vgfm_velocity_genes"}
    values = {"g0": "gene1", "g1": "gene2"}
    assert written.uns["vgfm"]["trajectories"]["values"]["names"].tolist() == list(values.values())
    for slot in ("uns", "obsm"):
        ours = {names.get(k, k): v for k, v in getattr(made, slot).items()}
        compare(ours, dict(getattr(written, slot)), slot)
    assert {k for k in made.obs if k.startswith("vgfm")} <= set(written.obs)
