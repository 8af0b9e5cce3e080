"""Is what `tl.choose` chooses better at a time that it has not seen?

Each time point between others is left out in turn. `tl.choose` sees the others alone; then its choice, the default,
OT-CFM and linear interpolation predict the time left out. Both scores are shares of those of the nearest snapshot.

    python tests/benchmarks/choose.py gene dyngen branching5 --steps 800

With ``--once`` it sees all time points and leaves out each of those between others. With ``--each`` nothing is chosen:
a row for each candidate, and for some that are none.
"""

from __future__ import annotations

import argparse
import sys
import time
from functools import partial

import numpy as np
import pandas as pd
from anndata import AnnData
from cases import CASES, SHARED, Case

import vgfm_sc
from vgfm_sc.methods import vgfm
from vgfm_sc.tl._choose import DEFAULT

PREDICTIONS = ("vgfm", "otcfm", "linear")

OTHERS = {
    "own growth, not along the data": vgfm(shared_growth=False, rho=0.5),
    "straight": vgfm(drift_rho=None, smooth=False, rho=2.0),
}
"""Methods that are no candidates."""


def branching(seed: int = 0, n_dims: int = 5) -> Case:
    """Branching process at seven times."""
    times = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0)
    adata = vgfm_sc.datasets.branching(n_dims=n_dims, n_cells=150, times=times, seed=seed)
    return Case(adata, "time", "X_state")


def embryoid(seed: int = 0, n_dims: int = 5) -> Case:
    """Embryoid bodies at five times, of which as many cells each were sequenced."""
    del seed
    found = np.load(SHARED / "embryoid_body_pca100.npz")
    obs = pd.DataFrame({"time": found["time"].astype(float)}, index=np.arange(len(found["time"])).astype(str))
    return Case(AnnData(obs=obs, obsm={"X_pcs": found["x"][:, :n_dims].astype(float)}), "time", "X_pcs")


DATA = {
    "gene": CASES["gene"],
    "dyngen": CASES["dyngen"],
    "mouse": CASES["mouse"],
    "branching5": branching,
    "branching10": partial(branching, n_dims=10),
    "branching30": partial(branching, n_dims=30),
    "eb5": embryoid,
    "eb30": partial(embryoid, n_dims=30),
    "eb100": partial(embryoid, n_dims=100),
}


def nested(case: Case, settings: dict, seed: int) -> pd.DataFrame:
    """A row for each time left out: what was chosen without it, and the scores there."""
    settings = {"use_rep": case.use_rep, "seed": seed, "progress": False, **settings}
    times = case.adata.obs[case.time_key].astype(float)
    rows = []
    for left_out in np.unique(times)[1:-1]:
        rest = case.adata[times.to_numpy() != left_out].copy()
        choice = vgfm_sc.tl.choose(rest, case.time_key, **settings)
        found = vgfm_sc.tl.holdout(
            case.adata, case.time_key, times=left_out, methods=DEFAULT, fit_steps=0, score=False, **settings
        ).set_index("prediction")
        row = {"left out": left_out, "chosen": choice.name, "gain": choice.table["gain"].max()}
        for score in ("energy", "w1"):
            share = found[score] / found.loc["nearest", score]
            row |= {f"{score} choice": share[choice.name], **{f"{score} {name}": share[name] for name in PREDICTIONS}}
            row[f"{score} best"] = share[list(DEFAULT)].min()
        rows.append(row)
    return pd.DataFrame(rows)


def each(case: Case, settings: dict, seed: int) -> pd.DataFrame:
    """A row for each candidate and for `OTHERS`: scores as shares of the nearest snapshot's, means over the times."""
    methods = {**DEFAULT, **OTHERS}
    settings = {"use_rep": case.use_rep, "seed": seed, "progress": False, "fit_steps": 0, "score": False, **settings}
    found = vgfm_sc.tl.holdout(case.adata, case.time_key, methods=methods, **settings)
    scores = found.set_index(["time", "prediction"])[["energy", "w1"]]
    shares = scores / scores.xs("nearest", level="prediction").reindex(scores.index, level="time")
    return shares.groupby("prediction", sort=False).mean().reset_index()


def once(case: Case, settings: dict, seed: int) -> pd.DataFrame:
    """The table of `tl.choose` over all times between others."""
    times = np.unique(case.adata.obs[case.time_key].astype(float))[1:-1]
    choice = vgfm_sc.tl.choose(
        case.adata, case.time_key, times=times, use_rep=case.use_rep, seed=seed, progress=False, **settings
    )
    print(choice.reason)
    return choice.table


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("data", nargs="+", choices=DATA)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--once", action="store_true")
    parser.add_argument("--each", action="store_true")
    given = parser.parse_args()
    for name in given.data:
        began = time.perf_counter()
        mass = {"mass": "equal"} if name.startswith("eb") else {}
        run = once if given.once else each if given.each else nested
        table = run(DATA[name](given.seed), {"match_steps": given.steps, **mass}, given.seed)
        print(f"\n{name}, {time.perf_counter() - began:.0f} s")
        print(table.round(3).to_string(index=False))
        if run is nested:
            print(table.select_dtypes("number").mean().round(3).to_frame().T.to_string(index=False))
        sys.stdout.flush()
