"""The examples of the docstrings run, on small data and with few steps."""

from __future__ import annotations

import doctest
from functools import partial

import pytest

import vgfm_sc
from vgfm_sc import datasets, get, methods, pl, tl

SMALL = {
    "toggle_switch": partial(datasets.toggle_switch, n_per_branch=15),
    "branching": partial(datasets.branching, n_cells=30),
    "regulatory_network": partial(datasets.regulatory_network, n_cells=30),
    "bistable": partial(datasets.bistable, n_cells=30),
}
STEPS = {"match_steps": 2, "fit_steps": 1, "width": 8, "depth": 2, "progress": False}


def examples() -> dict[str, str]:
    """Source of the examples of every public function that has any."""
    parts = {"tl": tl, "pl": pl, "get": get, "methods": methods, "datasets": datasets}
    found = {}
    for part, module in parts.items():
        for name in module.__all__:
            lines = doctest.DocTestParser().get_examples(getattr(module, name).__doc__)
            if lines:
                found[f"{part}.{name}"] = "".join(line.source for line in lines)
    return found


EXAMPLES = examples()


@pytest.mark.filterwarnings("ignore:n_jobs value")  # of UMAP, which is given a seed
@pytest.mark.parametrize("name", EXAMPLES)
def test_example_runs(name, monkeypatch, tmp_path):
    for simulator, smaller in SMALL.items():
        monkeypatch.setattr(datasets, simulator, smaller)
    for tool in ("choose", "fit", "holdout"):
        monkeypatch.setattr(tl, tool, partial(getattr(tl, tool), **STEPS))
    monkeypatch.chdir(tmp_path)  # some write a file
    exec(compile(EXAMPLES[name], name, "exec"), {"vgfm_sc": vgfm_sc})


def test_every_tool_and_plot_has_one():
    public = {f"{part}.{name}" for part, module in (("tl", tl), ("pl", pl), ("get", get)) for name in module.__all__}
    assert public <= set(EXAMPLES)
