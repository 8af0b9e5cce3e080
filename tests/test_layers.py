"""Who may import whom: the table of docs/contributing.md, checked on the source."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1] / "vgfm_sc"

# `anndata` is the type that public functions take, so every layer that meets the user may name it
ALLOWED = {
    "": {"vgfm_sc.tl", "vgfm_sc.pl", "vgfm_sc.get", "vgfm_sc.datasets", "vgfm_sc.methods"},
    "core": {"vgfm_sc.core", "torch", "numpy", "scipy", "ot", "tqdm", "joblib"},
    "methods": {"vgfm_sc.core"},
    "_anndata": {"vgfm_sc._anndata", "vgfm_sc._time", "numpy", "pandas", "anndata"},
    "_time": {"numpy", "pandas"},
    "get": {"vgfm_sc.core", "vgfm_sc.methods", "vgfm_sc._anndata", "numpy", "pandas", "scipy", "anndata"},
    "pl": {"vgfm_sc.pl", "vgfm_sc._anndata", "matplotlib", "numpy", "pandas", "anndata"},
    "datasets": {"vgfm_sc.datasets", "numpy", "pandas", "scipy", "anndata", "pooch"},
}
ALLOWED["tl"] = ALLOWED["get"] | {"vgfm_sc.tl", "vgfm_sc.get", "tqdm"}


def layer_of(path: Path) -> str:
    first = path.relative_to(ROOT).parts[0].removesuffix(".py")
    return "" if first == "__init__" else first


def offences(source: str, layer: str, package: str) -> list[str]:
    """Imports that ``layer`` may not make; ``package`` is the dotted name that relative imports start from."""
    found = []
    for name, line in imports(ast.parse(source), package):
        top = name.partition(".")[0]
        if top in sys.stdlib_module_names or name == "vgfm_sc":
            continue
        unit = ".".join(name.split(".")[:2]) if top == "vgfm_sc" else top
        if unit not in ALLOWED[layer]:
            found.append(f"line {line}: {name}")
    return found


def imports(tree: ast.AST, package: str):
    """(dotted name, line) of each import, wherever it stands, but for those that only type checkers see."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).removeprefix("typing.") == "TYPE_CHECKING":
            for other in node.orelse:
                yield from imports(ast.Module([other], []), package)
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            parents = parents[: len(parents) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            parts = base == "vgfm_sc"
            yield from ((f"{base}.{a.name}" if parts and is_part(a.name) else base, node.lineno) for a in node.names)
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "vgfm_sc" and is_part(node.attr):
            yield f"vgfm_sc.{node.attr}", node.lineno
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            yield from ((a.value, node.lineno) for a in node.args if isinstance(a, ast.Constant))
        yield from imports(node, package)


def is_part(name: str) -> bool:
    return (ROOT / name).is_dir() or (ROOT / f"{name}.py").is_file()


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_layer_imports_only_what_it_may(path):
    package = ".".join(["vgfm_sc", *path.relative_to(ROOT).parts[:-1]])
    assert not offences(path.read_text(), layer_of(path), package), f"{path}: see ALLOWED in {__file__}"


@pytest.mark.parametrize(
    ("source", "layer"),
    [
        ("import anndata", "core"),
        ("def f():\n    import pandas as pd", "core"),
        ("from vgfm_sc import _anndata", "core"),
        ("from vgfm_sc.tl import fit", "core"),
        ("from ..tl import fit", "core"),
        ("from .. import _anndata", "core"),
        ("import torch.nn", "_anndata"),
        ("import torch", "pl"),
        ("from vgfm_sc.core.model import Model", "pl"),
        ("import vgfm_sc\nvgfm_sc.tl.simulate", "pl"),
        ("import matplotlib.pyplot as plt", "tl"),
        ("import importlib\nimportlib.import_module('torch')", "pl"),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    pass\nelse:\n    import torch", "pl"),
        ("from vgfm_sc.pl import growth", "get"),
        ("import anndata", "methods"),
        ("import torch", ""),
        ("import torch", "datasets"),
    ],
)
def test_a_forbidden_import_is_found(source, layer):
    assert offences(source, layer, "vgfm_sc.core" if layer == "core" else f"vgfm_sc.{layer}".rstrip("."))


@pytest.mark.parametrize(
    ("source", "layer"),
    [
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch", "pl"),
        ("from . import nets\nfrom .flow import integrate\nimport torch", "core"),
        ("import vgfm_sc\nvgfm_sc.__version__", "tl"),
    ],
)
def test_an_allowed_import_passes(source, layer):
    assert not offences(source, layer, f"vgfm_sc.{layer}")
