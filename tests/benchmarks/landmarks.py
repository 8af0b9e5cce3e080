"""What tools that look up neighbours lose by searching a sample of a large atlas.

    python tests/benchmarks/landmarks.py             # 10 and 50 dimensions
    python tests/benchmarks/landmarks.py --dims 2

The branching process, 128,000 cells at three times, and the true flow in place of a fit. Velocities are laid on a
curved embedding of the two axes that matter; *off* is the root mean square difference from what all cells as landmarks
give, as a share of the root mean square speed there, *corr* the correlation with the truth. Fates of cells of the
second time are read off those of the third; *off* is the mean difference in the probability of fate a, *right* the
share of cells whose more probable fate is theirs. Of 2,000 cells, and of two draws of landmarks.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from accuracy import machine
from tools import branching

from vgfm_sc.core.dynamics.scaling import Scaling
from vgfm_sc.core.reading import projection
from vgfm_sc.datasets._fork import follow

ASKED = 2000


def rows(n_dims: int) -> None:
    """A row for each number of landmarks and each draw."""
    adata = branching(n_dims)
    x, v, at = adata.obsm["X_state"], adata.obsm["true_velocity"], adata.obs["time"].to_numpy()
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((n_dims, n_dims)))[0]  # as the simulator has it
    state, scaling, rng = x @ rotation.T, Scaling.of(x, np.unique(at)), np.random.default_rng(1)
    places = np.tanh(state[:, :2])
    true = (1 - places**2) * (v @ rotation.T)[:, :2]
    asked, second = rng.choice(len(x), ASKED, replace=False), rng.choice(np.flatnonzero(at == 1), ASKED, replace=False)
    cells, along = scaling.to_unitless(x), scaling.to_unitless(v + scaling.centre)
    ends, third = scaling.to_unitless(follow(state[second], 1.0)[0] @ rotation), np.flatnonzero(at == 2)
    types = np.eye(3)[adata.obs["cell_type"].cat.codes.to_numpy()[third]]
    is_a = (adata.obs["true_fate"] == "fate_a").to_numpy()[second]
    projection.IN_MANY_DIMS = 1.0
    wanted: tuple[np.ndarray, np.ndarray] | None = None
    for most in (len(x), 20_000, 10_000, 5000):
        projection.LANDMARKS = most
        for seed in range(1 if wanted is None else 2):
            began = time.process_time()
            found = projection.Landmarks(cells, places, seed).displace(cells[asked], along[asked])
            seconds = time.process_time() - began
            shares = projection.Landmarks(cells[third], types, seed).place(ends)
            wanted = (found, shares) if wanted is None else wanted
            off = np.sqrt(np.square(found - wanted[0]).sum(1).mean() / np.square(wanted[0]).sum(1).mean())
            corr = np.corrcoef(found.ravel(), true[asked].ravel())[0, 1]
            differ = np.abs(shares - wanted[1])[:, 1].mean()
            right = ((shares[:, 1] > shares[:, 2]) == is_a).mean()
            print(
                f"{n_dims:4d} {min(most, len(x)):10,d}   velocity off {off:.3f}, corr {corr:.3f}, {seconds:5.2f} s   "
                f"fate off {differ:.4f}, right {right:.3f}",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dims", type=int, nargs="+", default=[10, 50])
    print(machine())
    print("dims  landmarks")
    for n_dims in parser.parse_args().dims:
        rows(n_dims)


if __name__ == "__main__":
    main()
