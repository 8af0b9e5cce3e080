"""Fates in a branching process where some cells carry lineage barcodes, some of them wrong.

    python tests/benchmarks/barcodes.py
    python tests/benchmarks/barcodes.py --dims 30 --seeds 0 --each

``told``: share of the cells with a barcode; ``wrong``: share of these with that of any clone, drawn at random. Scores
are those of fates.py.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd
from accuracy import machine
from fates import COURSES, drawn, judged, show

import vgfm_sc

SETTINGS = ((0.0, 0.0), (0.1, 0.0), (0.3, 0.0), (1.0, 0.0), (1.0, 0.05))
"""Told and wrong."""


def told(clones: pd.Series, share: float, wrong: float, seed: int) -> pd.Series:
    """What is known of ``clones``: a ``share`` of them, of which a share is ``wrong``."""
    rng = np.random.default_rng([seed, 2])
    known, false = rng.random(len(clones)) < share, rng.random(len(clones)) < wrong
    codes = np.where(false, rng.integers(len(clones.cat.categories), size=len(clones)), clones.cat.codes)
    return pd.Series(pd.Categorical.from_codes(np.where(known, codes, -1), clones.cat.categories), clones.index)


def run(n_dims: int, n_clones: int, share: float, wrong: float, seed: int) -> dict[str, float]:
    """The scores of one fit."""
    adata, truth = drawn(n_dims, seed, COURSES["default"], n_clones)
    adata.obs["clone"] = told(adata.obs["true_clone"], share, wrong, seed)
    key = "clone" if share else None
    vgfm_sc.tl.fit(adata, "time", use_rep="X_state", clone_key=key, seed=seed, progress=False)
    return judged(adata, truth)[0]


def main() -> None:
    """Print a line for each share of barcodes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dims", type=int, default=10)
    parser.add_argument("--clones", type=int, default=100)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--each", action="store_true")
    args = parser.parse_args()
    print(machine())
    for share, wrong in SETTINGS:
        rows = []
        for seed in args.seeds:
            rows.append(run(args.dims, args.clones, share, wrong, seed))
            if args.each:
                show(f"    seed {seed}", rows[-1])
        show(f"told {share:g}, wrong {wrong:g}", pd.DataFrame(rows).mean().to_dict())


if __name__ == "__main__":
    main()
