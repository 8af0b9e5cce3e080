"""What gene space and growth priors are worth; called by `accuracy.py`.

``genes``: 2,000 genes of the branching process, fitted as 50 principal components and as they are. Simulated cells of
both are taken to the true state by one linear map of the components. ``prior``: the toggle switch, with no prior, the
true growth, and the true growth turned upside down, by ``rho``.
"""

from __future__ import annotations

import numpy as np
import scanpy as sc
from cases import toggle

import vgfm_sc
from vgfm_sc.core.reading.distances import wasserstein1

RHOS = (0.1, 0.5, 2.0, 10.0)

Rows = dict[str, list[dict[str, float]]]


def against(growth: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Correlation of growth with the truth, and its slope."""
    return {"growth_r": np.corrcoef(growth, truth)[0, 1], "growth_slope": np.polyfit(truth, growth, 1)[0]}


def genes(method: str, seeds: list[int], fit: dict, settings: dict) -> Rows:
    """The same cells as principal components and as genes."""
    chosen = getattr(vgfm_sc.methods, method)(**settings)
    table: Rows = {}
    for seed in seeds:
        adata = vgfm_sc.datasets.branching(n_genes=2000, seed=seed)
        sc.pp.pca(adata, n_comps=50, random_state=0)
        time, state = adata.obs["time"].to_numpy(), adata.obsm["X_state"]
        points, centre = np.unique(time), adata.X.mean(axis=0)
        with_one = np.column_stack([adata.obsm["X_pca"], np.ones(adata.n_obs)])
        to_state = np.linalg.lstsq(with_one, state)[0]
        for use_rep, x in (("X_pca", adata.obsm["X_pca"]), (None, adata.X)):
            vgfm_sc.tl.fit(adata, "time", use_rep=use_rep, method=chosen, seed=seed, progress=False, **fit)
            positions, mass = vgfm_sc.get.model(adata).simulate(x[time == points[0]], points, tol=1e-4)
            w1 = []
            for k in range(1, len(points)):
                components = positions[k] if use_rep else (positions[k] - centre) @ adata.varm["PCs"]
                found = np.column_stack([components, np.ones(len(components))]) @ to_state
                w1.append(wasserstein1(found, state[time == points[k]], mass[k]))
            row = against(adata.obs["vgfm_growth"].to_numpy(), adata.obs["true_growth"].to_numpy())
            axes = adata.uns["vgfm"]["scaling"].get("axes", adata.obsm["X_pca"].T)
            table.setdefault("genes" if use_rep is None else "components", []).append(
                row | {"w1_of_state": np.mean(w1), "axes": len(axes)}
            )
    return table


def prior(method: str, seeds: list[int], fit: dict, settings: dict) -> Rows:
    """Growth with a right and a wrong expectation of it."""
    if method == "otcfm":
        return {}
    table: Rows = {}
    for seed in seeds:
        case = toggle(seed)
        case.adata.obs["right"], case.adata.obs["wrong"] = case.growth, case.growth.max() - case.growth
        for name in (None, "right", "wrong"):
            for rho in RHOS:
                chosen = vgfm_sc.methods.vgfm(**{**settings, "rho": rho})
                vgfm_sc.tl.fit(
                    case.adata, case.time_key, use_rep=case.use_rep, growth_prior=name, method=chosen, seed=seed,
                    progress=False, **fit,
                )  # fmt: skip
                row = {"w1": vgfm_sc.tl.evaluate(case.adata)["w1"].mean()}
                row |= against(case.adata.obs["vgfm_growth"].to_numpy(), case.growth)
                table.setdefault(f"{name or 'no'} prior {rho:g}", []).append(row)
    return table


ROWS = {"genes": genes, "prior": prior}
