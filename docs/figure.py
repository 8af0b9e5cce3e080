"""The figure of the README, `docs/_static/dynamics.png`: the example of the first page of the documentation,
with the default number of steps.

python docs/figure.py
"""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import scanpy as sc

import vgfm_sc

adata = vgfm_sc.datasets.branching(n_cells=200, n_genes=200, seed=1)
sc.pp.pca(adata, n_comps=20)
vgfm_sc.tl.fit(adata, "time")
vgfm_sc.tl.simulate(adata)
vgfm_sc.tl.annotate(adata, "cell_type")
figure = vgfm_sc.pl.dynamics(adata, color="cell_type", return_fig=True)
path = Path(__file__).parent / "_static" / "dynamics.png"
figure.savefig(path, dpi=80, bbox_inches="tight", pil_kwargs={"optimize": True})
