"""Many fits, and many intervals."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import numpy as np
import pytest

from vgfm_sc import datasets, tl

GROWTH = 10
"""MB that 40 fits after the first 20 may add to a process."""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_many_fits_do_not_fill_the_memory(small):
    code = f"""
        import gc
        import resource
        import torch
        from vgfm_sc import datasets, tl
        torch.set_num_threads(1)
        adata = datasets.toggle_switch(n_per_branch=30, seed=0)
        def held():
            gc.collect()
            with open("/proc/self/statm") as file:
                return int(file.read().split()[1]) * resource.getpagesize() / 1e6
        for k in range(61):
            if k % 20 == 0:
                print(held())
            tl.fit(adata, "time", seed=k, **{ {**small, "match_steps": 10, "width": 8}!r})
            tl.simulate(adata, n_cells=5)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    megabytes = [float(line) for line in done.stdout.split()]
    assert len(megabytes) == 4 and megabytes[-1] - megabytes[1] < GROWTH, megabytes


def test_ten_intervals_are_fitted_and_simulated(small):
    times = np.cumsum([0, 0.1, 0.4, 0.2, 0.5, 0.1, 0.3, 0.3, 0.2, 0.6, 0.3])
    adata = datasets.branching(n_cells=40, n_dims=3, times=times, seed=0)
    tl.fit(adata, "time", **{**small, "use_rep": "X_state", "match_steps": 300})
    assert len(adata.uns["vgfm"]["couplings"]["converged"]) == 10
    tl.simulate(adata)
    np.testing.assert_array_equal(np.setdiff1d(times, adata.uns["vgfm"]["trajectories"]["times"]), [])
    scores = tl.evaluate(adata)
    assert scores["time"].tolist() == times[1:].tolist()
    assert (scores["rme"] < 1e-3).all()
    assert np.isfinite(scores.to_numpy()).all()
