"""Every public function on input that is wrong, or looks wrong and is not: it works and is right, or says what to do.

The tables beside each function (``tests/tl``, ``tests/pl``) go deeper; this one is the overview.
"""

from __future__ import annotations

import re
from functools import partial
from types import SimpleNamespace

import anndata as ad
import dask.array as da
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from vgfm_sc import _anndata, datasets, get, methods, pl, tl


def made(n=(20, 30), times=None, change=None, d=2) -> ad.AnnData:
    """Cells at the times 0, 1, ...; ``change`` makes another representation of theirs."""
    times = np.arange(float(len(n))) if times is None else times
    x = np.random.default_rng(0).normal(size=(sum(n), d)) + np.repeat(np.arange(len(n)), n)[:, None]
    obs = pd.DataFrame({"time": np.repeat(times, n)}, index=[f"cell{k}" for k in range(len(x))])
    adata = ad.AnnData(np.zeros((len(x), 2)), obs, pd.DataFrame(index=["gene1", "gene2"]))
    adata.obsm["X_genes"] = x if change is None else change(x)
    return adata


def framed(**columns) -> ad.AnnData:
    adata = made()
    x = pd.DataFrame(adata.obsm["X_genes"], adata.obs_names, ["a", "b"])
    adata.obsm["X_genes"] = x.assign(**columns)
    return adata


def timed(change) -> ad.AnnData:
    adata = made()
    adata.obs["time"] = change(adata.obs["time"])
    return adata


def conditioned(labels, n=(20, 30)) -> ad.AnnData:
    """``labels``: of the cells, or what makes them of the times."""
    adata = made(n)
    adata.obs["group"] = labels(adata.obs["time"].to_numpy()) if callable(labels) else labels
    return adata


def halves(time, first="a", second="b"):
    """Every second cell of either condition."""
    return np.where(np.arange(len(time)) % 2, second, first).astype(object)


def with_entry(adata, slot, name, value) -> ad.AnnData:
    adata = adata.copy()
    getattr(adata, slot)[name] = value
    return adata


def named(adata, **names) -> ad.AnnData:
    adata = adata.copy()
    for slot, value in names.items():
        setattr(adata, slot, value)
    return adata


def of_view(call):
    """``call``, expecting the warning that a view is written to."""

    def warned(adata):
        with pytest.warns(UserWarning, match="view"):
            call(adata)

    return warned


def fit(adata, time_key="time", **arguments):
    settings = {"width": 16, "depth": 2, "match_steps": 10, "match_size": 64, "fit_steps": 1, "fit_cells": 60}
    return tl.fit(adata, time_key, **{"use_rep": "X_genes", "progress": False, **settings, **arguments})


def fitting(**arguments):
    return lambda adata: fit(adata, **arguments)


def calling(function, *args, **arguments):
    return lambda adata: function(adata, *args, **arguments)


def making(function, **arguments):
    return lambda adata: function(**arguments)


def backed(fixtures) -> ad.AnnData:
    fixtures.unfitted.write_h5ad(fixtures.tmp_path / "a.h5ad")
    return ad.read_h5ad(fixtures.tmp_path / "a.h5ad", backed="r")


def unfitted(fixtures):
    return fixtures.unfitted.copy()


def fitted(fixtures):
    return fixtures.fitted.copy()


def later(fixtures):
    adata = fitted(fixtures)
    return adata[adata.obs["time"] > 0].copy()


def simulated(fixtures):
    return with_entry(fixtures.simulated, "obsm", "X_umap", fixtures.simulated.obsm["X_genes"] ** 2)


def on(change):
    return lambda _: change() if callable(change) else change


def represented(change):
    return lambda _: made(change=change)


SOUND = {  # what looks odd and is no reason to refuse: the object and the call
    "two cells against two": (on(lambda: made((2, 2))), fitting()),
    "snapshots of 2 and 3 cells": (on(lambda: made((2, 3, 2))), fitting()),
    "2 cells against 2,000": (on(lambda: made((2, 2000))), fitting()),
    "2,000 cells against 2": (on(lambda: made((2000, 2))), fitting()),
    "one dimension": (on(lambda: made(d=1)), fitting()),
    "negative times": (on(lambda: made(times=[-5.0, -3.0])), fitting()),
    "huge times": (on(lambda: made(times=[1e9, 1e9 + 1])), fitting()),
    "huge interval": (on(lambda: made(times=[0.0, 1e9])), fitting()),
    "times 1e-9 apart": (on(lambda: made(times=[0.0, 1e-9])), fitting()),
    "uneven intervals": (on(lambda: made((9, 9, 9), [0.0, 0.01, 1.0])), fitting()),
    "very uneven intervals": (on(lambda: made((9, 90, 9), [0.0, 1e-4, 1.0])), fitting()),
    "each snapshot at one point": (represented(lambda x: np.repeat([[0.0, 0.0], [1.0, 1.0]], [20, 30], 0)), fitting()),
    "first snapshot at one point": (represented(lambda x: np.vstack([np.zeros((20, 2)), x[20:]])), fitting()),
    "every cell twice": (represented(lambda x: np.repeat(x[:25], 2, axis=0)), fitting()),
    "scales of 1e-8 and 1e8": (represented(lambda x: x * [1e-8, 1e8]), fitting()),
    "scale 1e-30": (represented(lambda x: x * 1e-30), fitting()),
    "scale 1e30": (represented(lambda x: x * 1e30), fitting()),
    "offset 1e8": (represented(lambda x: x + 1e8), fitting()),
    "a column of zeros": (represented(lambda x: x * [1, 0]), fitting()),
    "an outlier": (represented(lambda x: np.vstack([x[:-1], [[1e6, 1e6]]])), fitting()),
    "float16": (represented(lambda x: x.astype(np.float16)), fitting()),
    "float32": (represented(lambda x: x.astype(np.float32)), fitting()),
    "integers": (represented(lambda x: (10 * x).astype(np.int8)), fitting()),
    "sparse": (represented(sparse.csr_matrix), fitting()),
    "sparse array by columns": (represented(sparse.csc_array), fitting()),
    "dask": (represented(lambda x: da.from_array(x, chunks=(10, 1))), fitting()),
    "DataFrame": (on(framed), fitting()),
    "categorical times": (on(lambda: timed(lambda t: t.astype("category"))), fitting()),
    "unused category": (on(lambda: timed(lambda t: pd.Categorical(t, categories=[1.0, 7.0, 0.0]))), fitting()),
    "nullable times": (on(lambda: timed(lambda t: t.astype("Int64"))), fitting()),
    "string times": (on(lambda: timed(lambda t: t.astype(str))), fitting()),
    "nullable strings": (on(lambda: timed(lambda t: t.astype(str).astype("string"))), fitting()),
    "numbers and strings": (on(lambda: timed(lambda t: t.astype(object).where(t > 0, "0"))), fitting()),
    "totals 1e16 apart": (on(made), fitting(mass={0: 1e-8, 1: 1e8})),
    "names of genes twice, not used": (lambda f: named(f.unfitted, var_names=["g", "g"]), fitting()),
    "a view": (lambda f: f.unfitted[f.unfitted.obs["time"] < 2], of_view(fitting())),
    "backed": (backed, fitting()),
    "genes": (unfitted, fitting(use_rep=None)),
    "a second fit": (fitted, fitting()),
}

NO_FIT = (KeyError, r"No fit found in adata\.uns\['vgfm'\].*vgfm_sc\.tl\.fit\(")
NO_RUN = (KeyError, r"vgfm_sc\.tl\.simulate\(")
FIRST = {"ancestors": [[0]], "annotate": ["time"], "descendants": [[0]], "fate": ["branch"], "interpolate": [1.5]}
FIRST |= {"compare_clones": ["branch"], "perturb": [{"gene1": 0.0}, "branch"], "screen": [["gene1"], "branch"]}
FIRST |= {"compare": ["a", "b"]}
LATER = [name for name in tl.__all__ if name not in ("choose", "fit", "growth_prior", "holdout")]

REFUSED = {  # the function, then what is wrong: the object, the call, the error and what its message says
    **{f"tl.{n}: before fit": (unfitted, calling(getattr(tl, n), *FIRST.get(n, [])), *NO_FIT) for n in LATER},
    **{f"tl.{n}: other key": (fitted, calling(getattr(tl, n), *FIRST.get(n, []), key="b"), KeyError, r"'b'.*'vgfm'")
       for n in LATER},
    **{f"get.{n}: before fit": (unfitted, calling(getattr(get, n)), *NO_FIT) for n in get.__all__},
    **{f"pl.{n}: before fit": (unfitted, calling(getattr(pl, n)), *NO_FIT) for n in pl.__all__ if n != "holdout"},
    **{f"pl.{n}: before simulate": (fitted, calling(getattr(pl, n)), *NO_RUN)
       for n in ("animate", "dynamics", "mass", "snapshots", "trajectories")},
    **{f"pl.{n}: before project": (simulated, calling(getattr(pl, n), "umap"), KeyError, r"vgfm_sc\.tl\.project\(")
       for n in ("dynamics", "snapshots", "trajectories", "velocity")},
    **{f"pl.{n}: basis is no name": (simulated, calling(getattr(pl, n), 3), TypeError, "basis is a key of obsm, .*3")
       for n in ("growth", "velocity")},
    "pl.holdout: before holdout": (fitted, calling(pl.holdout), KeyError, r"vgfm_sc\.tl\.holdout\("),
    "pl.fate: before fate": (simulated, calling(pl.fate), KeyError, r"vgfm_sc\.tl\.fate\("),
    "pl.landscape: before landscape": (simulated, calling(pl.landscape), KeyError, r"vgfm_sc\.tl\.landscape\("),
    "pl.perturb: before perturb": (simulated, calling(pl.perturb), KeyError, r"vgfm_sc\.tl\.perturb\("),
    "pl.compare: before compare": (simulated, calling(pl.compare), KeyError, r"vgfm_sc\.tl\.compare\("),
    "pl.screen: before screen": (simulated, calling(pl.screen), KeyError, r"vgfm_sc\.tl\.screen\("),
    "pl.clones: before compare_clones": (simulated, calling(pl.clones), KeyError, r"vgfm_sc\.tl\.compare_clones\("),
    "pl.genes: before annotate": (simulated, calling(pl.genes), KeyError, r"vgfm_sc\.tl\.annotate\("),
    "pl.uncertainty: one model": (fitted, calling(pl.uncertainty), KeyError, r"vgfm_sc\.tl\.fit\(.*n_models"),
    "pl.loss: other key": (fitted, calling(pl.loss, key="b"), KeyError, r"'b'.*'vgfm'"),
    "tl.annotate: before simulate": (fitted, calling(tl.annotate, "branch"), *NO_RUN),
    "tl.rank_genes: before fate": (fitted, calling(tl.rank_genes, "fate"), KeyError, r"vgfm_sc\.tl\.fate\("),
    "get.trajectories: before simulate": (fitted, calling(get.trajectories), *NO_RUN),
    "get.genes: before ranking": (fitted, calling(get.genes), KeyError, r"vgfm_sc\.tl\.rank_genes\("),
    "tl.fit: path": (on(made), lambda _: tl.fit("a.h5ad", "time"), TypeError, "AnnData, got str"),
    "tl.fit: no cells": (on(lambda: made()[:0].copy()), fitting(), ValueError, "no cells"),
    "tl.fit: one cell": (on(lambda: made((1, 5))), fitting(), ValueError, "1 of 2 .* fewer than 2 cells: 0. Drop"),
    "tl.fit: list of keys": (on(made), lambda a: tl.fit(a, ["t"]), TypeError, r"time_key must be a name, got \['t'\]"),
    "tl.fit: equal times": (on(lambda: timed(lambda t: 0 * t)), fitting(), ValueError, "one time point"),
    "tl.fit: times 1e-9 of the course apart":
        (on(lambda: made((9, 9, 9), [0, 1e-9, 1])), fitting(), ValueError, "0.0 and 1e-09.*millionth.*Make them one"),
    "tl.fit: a time at 1e9": (on(lambda: made((9, 9, 9), [0, 1, 1e9])), fitting(), ValueError, "drop the time far"),
    "tl.fit: time missing":
        (on(lambda: timed(lambda t: t.where(t.index != "cell3"))), fitting(), ValueError, "missing .* for 1 of 50"),
    "tl.fit: time infinite": (on(lambda: timed(lambda t: t / 0 + 1)), fitting(), ValueError, "infinite"),
    "tl.fit: times are days": (on(lambda: timed(pd.to_datetime)), fitting(), TypeError, "datetime.*total_seconds"),
    "tl.fit: times are labels": (on(lambda: timed(lambda t: "d" + t.astype(str))), fitting(), ValueError, "time_map="),
    "tl.fit: two columns of times":
        (on(lambda: named(made(), obs=pd.concat([made().obs] * 2, axis=1))), fitting(), ValueError, "several columns"),
    "tl.fit: no such column": (on(made), fitting(time_key="day"), KeyError, r"'day' not found.*\['time'\]"),
    "tl.fit: no such representation": (on(made), fitting(use_rep="X_pca"), KeyError, r"X_genes.*sc\.pp\.pca"),
    "tl.fit: a number of genes":
        (on(made), fitting(use_rep=None, genes=200), TypeError, "genes must be a list .*'highly_variable'; got 200"),
    "tl.fit: time_map is a list":
        (on(made), fitting(time_map=[0, 2]), TypeError, r"time_map must map values of obs\['time'\].*\[0, 2\]"),
    "tl.fit: a continuous time":
        (on(lambda: timed(lambda t: np.linspace(0, 1, len(t)))), fitting(), ValueError, r"50 of 50 .*0.0816327, \.\."),
    "tl.growth_prior: no gene of the cell cycle":
        (on(made), tl.growth_prior, KeyError, r"None of the 97 genes.*'MCM5'.*there: \['gene1', 'gene2'\]"),
    "tl.simulate: a label for a time":
        (fitted, calling(tl.simulate, start="D0"), TypeError, r"got 'D0'. Time points: \[0.0, 1.0"),
    "tl.simulate: without the first cells":
        (later, calling(tl.simulate), ValueError, "No cells at time 0.*start="),
    "pl.velocity: several colours":
        (fitted, calling(pl.velocity, color=["time", "gene1"]), TypeError, "color must be one name.*one plot for each"),
    "pl.velocity: several axes":
        (fitted, calling(pl.velocity, ax=np.empty(2, dtype=object)), TypeError, "one matplotlib Axes, got ndarray"),
    "tl.fit: empty": (represented(lambda x: x[:, :0]), fitting(), ValueError, r"shape \(50, 0\)"),
    "tl.fit: three axes": (represented(lambda x: x[:, :, None]), fitting(), ValueError, r"shape \(50, 2, 1\)"),
    "tl.fit: constant": (represented(lambda x: 0 * x + 1), fitting(), ValueError, "constant"),
    "tl.fit: NaN": (represented(lambda x: np.where(x > 2, np.nan, x)), fitting(), ValueError, "NaN .* in 13 of 50"),
    "tl.fit: infinity": (represented(lambda x: np.where(x > 2, np.inf, x)), fitting(), ValueError, "NaN or infinity"),
    "tl.fit: boolean": (represented(lambda x: x > 0), fitting(), TypeError, "numeric"),
    "tl.fit: complex": (represented(lambda x: x + 1j), fitting(), TypeError, "numeric"),
    "tl.fit: text in a DataFrame": (on(lambda: framed(c="a")), fitting(), TypeError, "numeric"),
    "tl.fit: scale 1e200": (represented(lambda x: x * 1e200), fitting(), ValueError, r"1e\+200.*other units"),
    "tl.fit: interval 1e-40": (on(lambda: made(times=[0, 1e-40])), fitting(), ValueError, r"1e\+40.*other units"),
    "tl.fit: names of genes twice":
        (lambda f: named(f.unfitted, var_names=["g", "g"]), fitting(use_rep=None), ValueError, "var_names_make_unique"),
    "tl.fit: uns taken": (on(lambda: with_entry(made(), "uns", "vgfm", 1)), fitting(), ValueError, "another key_added"),
    "tl.fit: obs taken":
        (on(lambda: with_entry(made(), "obs", "vgfm_mass", 1.0)), fitting(), ValueError, r"obs\['vgfm_mass'\]"),
    "tl.fit: key with /": (on(made), fitting(key_added="a/b"), ValueError, "without it"),
    "tl.fit: total missing": (on(made), fitting(mass={0: 1}), ValueError, r"Without a total: \[1\.0\]"),
    "tl.fit: total negative": (on(made), fitting(mass={0: -1, 1: 1}), ValueError, "positive and finite"),
    "tl.fit: totals far apart": (on(made), fitting(mass={0: 1e-30, 1: 1e30}), ValueError, "too far apart.*one unit"),
    "tl.fit: view of one time":
        (lambda f: f.unfitted[f.unfitted.obs["time"] < 1], fitting(), ValueError, "at least two"),
    "tl.fit: backed, no such column": (backed, fitting(time_key="day"), KeyError, "'day' not found"),
    "tl.choose: two times": (on(made), calling(tl.choose, "time", use_rep="X_genes"), ValueError, "at least three"),
    "tl.choose: one name": (unfitted, calling(tl.choose, "time", ["vgfm", "vgfm"], use_rep="X_genes"), ValueError,
                            r"2 methods named 'vgfm'.*candidates=\{"),
    "tl.holdout: two times": (on(made), calling(tl.holdout, "time", use_rep="X_genes"), ValueError, "at least three"),
    "tl.holdout: text": (unfitted, calling(tl.holdout, "time", use_rep="X_genes", times="a"), TypeError, "times must"),
    "tl.holdout: quoted": (unfitted, calling(tl.holdout, "time", use_rep="X_genes", times="1"), TypeError, "got '1'"),
    "tl.holdout: first time": (unfitted, calling(tl.holdout, "time", use_rep="X_genes", times=0), ValueError, "only"),
    "tl.holdout: taken": (on(lambda: with_entry(made((9, 9, 9)), "uns", "vgfm_holdout", 1)),
                          calling(tl.holdout, "time", use_rep="X_genes"), ValueError, "another key_added"),
    "tl.simulate: times are text": (fitted, calling(tl.simulate, times=["a"]), TypeError, "times must be.*'a'"),
    "tl.simulate: time out of range": (fitted, calling(tl.simulate, times=[5]), ValueError, "covers 0 to 4"),
    "tl.simulate: back and forth": (fitted, calling(tl.simulate, times=[1, 0.5]), ValueError, "one direction"),
    "tl.simulate: no such start": (fitted, calling(tl.simulate, start=7), ValueError, r"Time points: \[0\.0, 1\.0"),
    "tl.simulate: start of two times": (fitted, calling(tl.simulate, start=[0, 500]), ValueError, "choose"),
    "tl.simulate: no cells": (fitted, calling(tl.simulate, n_cells=0), ValueError, "n_cells must be positive"),
    "tl.simulate: n_cells boolean": (fitted, calling(tl.simulate, n_cells=True), TypeError, "n_cells must be"),
    "tl.simulate: tol is text": (fitted, calling(tl.simulate, tol="a"), TypeError, "tol must be a number, got 'a'"),
    "tl.simulate: tol infinite": (fitted, calling(tl.simulate, tol=np.inf), ValueError, "tol must be positive and"),
    "tl.simulate: no seed": (fitted, calling(tl.simulate, seed=None), TypeError, "seed must be an integer"),
    "tl.simulate: negative noise": (fitted, calling(tl.simulate, noise=-1.0), ValueError, "noise must be at least 0"),
    "tl.simulate: view": (lambda f: f.fitted[:500], calling(tl.simulate, tol=0), ValueError, "tol must be positive"),
    "tl.simulate: other representation": (lambda f: with_entry(f.fitted, "obsm", "X_genes", np.eye(f.fitted.n_obs, 3)),
                                          calling(tl.simulate), ValueError, r"3 dimensions.*had 2.*vgfm_sc\.tl\.fit"),
    "tl.evaluate: max_cells is text": (fitted, calling(tl.evaluate, max_cells="a"), TypeError, "max_cells must be an"),
    "tl.evaluate: negative seed": (fitted, calling(tl.evaluate, seed=-1), ValueError, "seed must lie between"),
    "tl.evaluate: a time dropped":
        (lambda f: f.fitted[f.fitted.obs["time"] != 2].copy(), calling(tl.evaluate), ValueError, r"\[2\.0\].*all"),
    "tl.project: basis is no name": (simulated, calling(tl.project, None), TypeError, "basis is a key of obsm"),
    "tl.project: no such basis": (simulated, calling(tl.project, "tsne"), KeyError, "'tsne' not found.*'umap'"),
    "tl.project: taken": (lambda f: with_entry(simulated(f), "obsm", "vgfm_velocity_umap", f.simulated.obsm["X_genes"]),
                          calling(tl.project), ValueError, "not written from the fit.*Rename"),
    "tl.annotate: no such name": (simulated, calling(tl.annotate, "no"), KeyError, r"\['no'\] found neither"),
    "tl.annotate: no name": (simulated, calling(tl.annotate, 3), TypeError, "keys must be a name, got 3"),
    "tl.annotate: negative seed": (simulated, calling(tl.annotate, "branch", seed=-1), ValueError, "seed must lie"),
    "tl.fit: no condition column": (on(made), fitting(condition_key="no"), KeyError, "'no' not found.*'time'"),
    "tl.fit: condition is no name": (on(made), fitting(condition_key=3), TypeError, "condition_key must be a name"),
    "tl.fit: conditions are numbers": (on(made), fitting(condition_key="time"), TypeError, "categories are needed"),
    "tl.fit: conditions missing": (on(partial(conditioned, lambda t: np.where(t > 0, halves(t), None))),
                                   fitting(condition_key="group"), ValueError, "missing for 20 of 50 cells.*labelled"),
    "tl.fit: one condition": (on(partial(conditioned, "a")), fitting(condition_key="group"), ValueError,
                              "one condition, 'a'; .*Leave condition_key out"),
    "tl.fit: a condition of the first time":
        (on(partial(conditioned, lambda t: np.where(t > 0, "a", halves(t)))), fitting(condition_key="group"),
         ValueError, r"\['b'\].*first time alone, 0"),
    "tl.fit: a condition of one cell":
        (on(partial(conditioned, lambda t: np.where(np.arange(len(t)) == 40, "b", np.where(t > 0, "a", halves(t))))),
         fitting(condition_key="group"), ValueError, r"fewer than 2 cells.*\{'b': \[1.0\]\}"),
    "tl.fit: totals without conditions": (on(partial(conditioned, halves)),
                                          fitting(condition_key="group", mass={0: 1, 1: 2}), ValueError,
                                          r"\{condition: \{time: total\}\}.*\['a', 'b'\]"),
    "tl.fit: total of a condition is a number": (on(partial(conditioned, halves)),
                                                 fitting(condition_key="group", mass={"a": 1, "b": 2}), TypeError,
                                                 r"mass\['a'\] must be"),
    "tl.simulate: condition of a plain fit": (fitted, calling(tl.simulate, condition="a"), ValueError,
                                              "no conditions.*condition_key"),
    "tl.fate: numbers": (fitted, calling(tl.fate, "time"), TypeError, "categories are needed"),
    "tl.fate: list": (fitted, calling(tl.fate, ["branch"]), TypeError, r"must be a name, got \['branch'\]"),
    "tl.fate: direction": (fitted, calling(tl.fate, "branch", direction="up"), ValueError, "'forward', 'backward'"),
    "tl.fate: taken": (lambda f: with_entry(f.fitted, "obsm", "vgfm_fate", f.fitted.obsm["X_genes"]),
                       calling(tl.fate, "branch"), ValueError, r"obsm\['vgfm_fate'\].*Rename"),
    "tl.interpolate: text": (fitted, calling(tl.interpolate, "1"), TypeError, "time must be a time, as a number"),
    "tl.interpolate: out of range": (fitted, calling(tl.interpolate, np.nan), ValueError, "range of the fit, 0 to 4"),
    "tl.growth_error: one model": (fitted, calling(tl.growth_error), KeyError, r"vgfm_sc\.tl\.fit\(.*n_models"),
    "tl.landscape: text": (fitted, calling(tl.landscape, time="1"), TypeError, "time must be a time, as a number"),
    "tl.landscape: out of range": (fitted, calling(tl.landscape, time=5), ValueError, "range of the fit, 0 to 4"),
    "tl.landscape: taken": (lambda f: with_entry(f.fitted, "obs", "vgfm_landscape", 1.0), calling(tl.landscape),
                            ValueError, r"obs\['vgfm_landscape'\].*Rename"),
    "tl.descendants: no cells": (fitted, calling(tl.descendants, []), ValueError, "at least one"),
    "tl.descendants: last time": (fitted, calling(tl.descendants, [866]), ValueError, "a time point after it"),
    "tl.descendants: taken":
        (fitted, calling(tl.descendants, [0], key_added="time"), ValueError, r"obs\['time'\], not written.*Rename"),
    "tl.ancestors: weights": (fitted, calling(tl.ancestors, np.full(867, np.nan)), ValueError, "weights in cells must"),
    "tl.ancestors: first time": (fitted, calling(tl.ancestors, [0]), ValueError, "a time point before it"),
    "tl.compare_clones: no column": (fitted, calling(tl.compare_clones, "no"), KeyError, "'no' not found.*'branch'"),
    "tl.compare_clones: floats": (fitted, calling(tl.compare_clones, "true_growth"), TypeError, "floating-point"),
    "tl.compare_clones: own": (lambda f: with_entry(f.fitted, "obs", "own", f.fitted.obs_names),
                               calling(tl.compare_clones, "own"), ValueError, "867 values in 867 cells"),
    "tl.compare_clones: one value": (lambda f: with_entry(f.fitted, "obs", "one", "a"),
                                     calling(tl.compare_clones, "one"), ValueError, "one value in all 867 cells"),
    "tl.compare_clones: of one time": (lambda f: with_entry(f.fitted, "obs", "t", f.fitted.obs["time"].astype(str)),
                                       calling(tl.compare_clones, "t"), ValueError, "none .*at two time points"),
    "tl.gene_velocity: no loadings": (fitted, calling(tl.gene_velocity), KeyError, r"no 'X_genes'.*use_rep=None"),
    "tl.regulators: no loadings": (fitted, calling(tl.regulators), KeyError, r"no 'X_genes'.*use_rep=None"),
    "tl.compare: no conditions":
        (fitted, calling(tl.compare, "a", "b"), ValueError, "no conditions.*condition_key"),
    "tl.perturb: no loadings":
        (fitted, calling(tl.perturb, {"gene1": 0.0}, "branch"), KeyError, r"no 'X_genes'.*use_rep=None"),
    "tl.perturb: list of genes":
        (fitted, calling(tl.perturb, ["gene1"], "branch"), TypeError, r"\{'GATA1': 'knockout'\}.*\['gene1'\]"),
    "tl.perturb: no such column":
        (fitted, calling(tl.perturb, {"gene1": 0.0}, "no"), KeyError, "'no' not found.*'branch'"),
    "tl.perturb: last time":
        (fitted, calling(tl.perturb, {"gene1": 0.0}, "branch", start=4), ValueError, "last time point, 4.*earlier"),
    "tl.screen: no loadings":
        (fitted, calling(tl.screen, ["gene1"], "branch"), KeyError, r"no 'X_genes'.*use_rep=None"),
    "tl.screen: no value":
        (fitted, calling(tl.screen, ["gene1"], "branch", to="off"), ValueError, "to must be a value.*'off'"),
    "tl.screen: a gene twice":
        (fitted, calling(tl.screen, ["gene1"] * 2, "branch"), ValueError, r"more than once: \['gene1'\]"),
    "tl.rank_genes: by": (fitted, calling(tl.rank_genes, "size"), ValueError, "'growth', 'velocity'.*'size'"),
    "tl.rank_genes: one cell": (fitted, calling(tl.rank_genes, cells=[0]), ValueError, "at least 3"),
    "get.genes: negative number": (fitted, calling(get.genes, n_genes=-1), ValueError, "n_genes must be"),
    "get.model: dimensions": (fitted, lambda a: get.model(a)(0, [[1, 2, 3]]), ValueError, r"fitted on \(n, 2\)"),
    "get.model: times": (fitted, lambda a: get.model(a)([0, 1], [[1, 2]]), ValueError, "t has .*one time for each"),
    "get.couplings: column missing": (lambda f: named(f.fitted, obs=f.fitted.obs.drop(columns="time")),
                                      calling(get.couplings), KeyError, "'time' not found"),
    "methods.vgfm: eps": (on(made), making(methods.vgfm, eps="a"), TypeError, "eps must be a number, got 'a'"),
    "methods.vgfm: rho": (on(made), making(methods.vgfm, rho=np.inf), ValueError, "rho must be positive and finite"),
    "methods.vgfm: noise": (on(made), making(methods.vgfm, noise=-1), ValueError, "noise must be at least 0"),
    "methods.otcfm: eps": (on(made), making(methods.otcfm, eps=0), ValueError, "eps must be positive"),
    "methods.bridge: no sigma": (on(made), making(methods.bridge), TypeError, "sigma"),
    "methods.bridge: word": (on(made), making(methods.bridge, sigma="a"), TypeError, "sigma must be a number, got 'a'"),
    "methods.bridge: negative": (on(made), making(methods.bridge, sigma=-1), ValueError, "sigma must be positive"),
    "methods.bridge: zero": (on(made), making(methods.bridge, sigma=0), ValueError, "sigma must be positive"),
    "methods.bridge: nan": (on(made), making(methods.bridge, sigma=np.nan), ValueError, "sigma must be positive"),
    "methods.bridge: rho": (on(made), making(methods.bridge, sigma=1, rho=0), ValueError, "rho must be positive"),
    "methods.bridge: wide": (on(made), fitting(method=methods.bridge(sigma=50)), ValueError,
                             r"sigma=50 .*from 0 to 1 .*of 50 .*well below 1\.\d+"),
    "methods.wfr: delta": (on(made), making(methods.wfr, delta=0), ValueError, "delta must be positive"),
    "methods.wfr: eps": (on(made), making(methods.wfr, eps="a"), TypeError, "eps must be a number, got 'a'"),
    "methods.wfr: noise": (on(made), making(methods.wfr, noise=-1), ValueError, "noise must be at least 0"),
    "methods.wfr: out of reach": (on(made), fitting(method=methods.wfr(delta=0.01)), ValueError,
                                  r"delta=0\.01 is too small: \d+ of 20 earlier .*Raise delta above 0\.\d+"),
    "methods.manifold: neighbours": (on(made), making(methods.manifold, n_neighbors=0), ValueError,
                                    "n_neighbors must be at least 2, got 0"),
    "methods.manifold: detour": (on(made), making(methods.manifold, detour=0.5), ValueError,
                                 "detour must be at least 1, at which paths are straight, got 0.5"),
    "methods.manifold: more neighbours than cells": (
        on(made), fitting(method=methods.manifold(n_neighbors=500)), ValueError,
        r"n_neighbors=500 needs more than 500 cells at different places.*found 50\. Lower n_neighbors.*method='vgfm'"),
    "methods.manifold: no ranks left": (
        on(lambda: made((2, 2))), fitting(method="manifold"), ValueError,
        r"n_neighbors=10 needs more than 10 cells .*found 4"),
    "methods.manifold: prior": (
        on(made), fitting(method=methods.manifold(balanced=True), growth_prior="prior"), ValueError,
        "method='otmfm' makes all cells grow alike"),
    "methods.Method: prepare": (on(made), making(methods.Method, coupling=min, prepare=1), TypeError,
                                "prepare must be a function or None, got 1"),
    "methods.Method: sigma": (on(made), making(methods.Method, coupling=min, sigma=0), ValueError, "sigma must be"),
    "methods.Method: noise": (on(made), making(methods.Method, coupling=min, noise=-1), ValueError, "at least 0"),
    "methods.Method: no function": (on(made), making(methods.Method, coupling="vgfm"), TypeError, "a function"),
    "methods.Method: coupling": (on(made), fitting(method=methods.Method(lambda *_: np.ones((2, 3)))), ValueError,
                                 r"shape \(2, 3\).*\(20, 30\) is needed"),
    "datasets.toggle_switch: cells":
        (on(made), making(datasets.toggle_switch, n_per_branch=0), ValueError, "n_per_branch must be positive"),
    "datasets.toggle_switch: knockout": (on(made), making(datasets.toggle_switch, knockout="gene4"), ValueError,
                                         r"\['gene4'\]; the genes are \['gene1', 'gene2', 'gene3'\]"),
    "datasets.regulatory_network: cells":
        (on(made), making(datasets.regulatory_network, n_cells=0), ValueError, "n_cells must be positive"),
    "datasets.regulatory_network: division":
        (on(made), making(datasets.regulatory_network, division=-1), ValueError, "division must be at least 0"),
    "datasets.regulatory_network: knockout": (on(made), making(datasets.regulatory_network, knockout=["cycle", "a"]),
                                              ValueError, r"\['a'\]; the genes are \['stem'"),
    "datasets.branching: cells": (on(made), making(datasets.branching, n_cells=0), ValueError, "n_cells must be"),
    "datasets.branching: clones": (on(made), making(datasets.branching, n_clones=0), ValueError, "n_clones must be"),
    "datasets.branching: treatment":
        (on(made), making(datasets.branching, treatment="drug"), ValueError, "'growth', 'fate', 'none'.*'drug'"),
    "datasets.branching: genes": (on(made), making(datasets.branching, n_genes=1), ValueError, "n_growth_genes=20"),
    "datasets.branching: times": (on(made), making(datasets.branching, times=(0, np.nan)), ValueError, "increasing"),
    "datasets.bistable: cells": (on(made), making(datasets.bistable, n_cells=1.5), TypeError, "n_cells must be"),
    "datasets.bistable: dimensions":
        (on(made), making(datasets.bistable, n_dims=1), ValueError, "n_dims must be at least 2"),
    "datasets.bistable: noise": (on(made), making(datasets.bistable, noise=0), ValueError, "noise must be positive"),
    "datasets.bistable: times": (on(made), making(datasets.bistable, times=(0, np.nan)), ValueError, "increasing"),
    "datasets.gaussian_mixture: dimensions":
        (on(made), making(datasets.gaussian_mixture, n_dims=1), ValueError, "n_dims must be at least 2"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Variable names are not unique", "ignore:Observation names are not unique")
@pytest.mark.parametrize("case", [*(f"works: {name}" for name in SOUND), *REFUSED])
def test_input_works_and_is_checked_or_is_refused_and_changes_nothing(request, tmp_path, unchanged, case):
    fixtures = SimpleNamespace(
        tmp_path=tmp_path, **{name: request.getfixturevalue(name) for name in ("unfitted", "fitted", "simulated")}
    )
    if case in REFUSED:
        build, call, error, message = REFUSED[case]
        adata = build(fixtures)
        was_view = adata.is_view
        with unchanged(adata), pytest.raises(error, match=f"(?s){message}"):
            call(adata)
        assert adata.is_view == was_view
    else:
        build, call = SOUND[case.removeprefix("works: ")]
        adata = build(fixtures)
        call(adata)
        assert_sound(adata)
    if adata.isbacked:
        adata.file.close()


def assert_sound(adata) -> None:
    """All is finite, cells have descendants, and couplings and flow meet the totals."""
    result, snapshots = _anndata.fitted_snapshots(adata, "vgfm")
    assert np.isfinite(_anndata.read_velocity(adata, "vgfm")).all()
    assert np.isfinite(adata.obs["vgfm_growth"]).all()
    last = snapshots.rows[-1]
    assert np.isnan(adata.obs["vgfm_mass"].iloc[last]).all()
    assert (np.delete(adata.obs["vgfm_mass"].to_numpy(), last) > 0).all()
    held = snapshots.totals / [len(rows) for rows in snapshots.rows]
    for plan, mass in zip(get.couplings(adata).values(), held[1:] / held[0], strict=True):
        np.testing.assert_allclose(np.asarray(plan.sum(axis=0)).ravel(), mass, rtol=1e-3)
    scores = tl.evaluate(adata, max_cells=30)
    few = [len(rows) < 4 for rows in snapshots.rows[1:]]  # their halves have no pairs
    assert scores["energy_floor"].isna().tolist() == few
    assert np.isfinite(scores.drop(columns="energy_floor").to_numpy(dtype=float)).all() and (scores["rme"] < 1e-4).all()


def test_the_table_speaks_of_every_public_function():
    parts = {"tl": tl, "pl": pl, "get": get, "methods": methods, "datasets": datasets}
    public = {f"{part}.{name}" for part, module in parts.items() for name in module.__all__}
    public -= {"datasets.mouse_hematopoiesis", "datasets.reprogramming"}  # take nothing that could be wrong
    assert public == {re.match(r"[\w.]+", case).group() for case in REFUSED}
