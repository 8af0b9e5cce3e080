"""Who may import whom: the table of docs/contributing/code.md, checked on the source."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1] / "vgfm_sc"

ROOMS = ("transport", "training", "dynamics", "reading", "cost")
ARRAYS = {"torch", "numpy", "scipy", "sklearn", "ot", "tqdm", "joblib", "vgfm_sc.core", "vgfm_sc._checks"}

# `anndata` is the type that public functions take, so every layer that meets the user may name it
ALLOWED = {
    "": {"vgfm_sc.tl", "vgfm_sc.pl", "vgfm_sc.get", "vgfm_sc.datasets", "vgfm_sc.methods"},
    "_checks": set(),
    "_time": {"numpy", "pandas"},
    "core": ARRAYS,
    "core.transport": ARRAYS | {"vgfm_sc.core.transport"},
    "core.dynamics": ARRAYS | {"vgfm_sc.core.dynamics"},
    "core.training": ARRAYS | {"vgfm_sc.core.training", "vgfm_sc.core.transport", "vgfm_sc.core.dynamics"},
    "core.reading": ARRAYS | {"vgfm_sc.core.reading", "vgfm_sc.core.transport", "vgfm_sc.core.dynamics"},
    "core.cost": ARRAYS | {f"vgfm_sc.core.{room}" for room in ("cost", "transport", "dynamics", "training")},
    "methods": {"vgfm_sc.core", "vgfm_sc.core.transport", "vgfm_sc._checks"},
    "_anndata": {"vgfm_sc._anndata", "vgfm_sc._time", "numpy", "pandas", "anndata"},
    "get": {"vgfm_sc.methods", "vgfm_sc._anndata", "vgfm_sc._checks", "numpy", "pandas", "scipy", "anndata"}
    | {"vgfm_sc.core", *(f"vgfm_sc.core.{room}" for room in ROOMS)},
    "pl": {"vgfm_sc.pl", "vgfm_sc._anndata", "matplotlib", "numpy", "pandas", "anndata"},
    "datasets": {"vgfm_sc.datasets", "vgfm_sc._checks", "numpy", "pandas", "scipy", "anndata", "pooch"},
}
ALLOWED["tl"] = ALLOWED["get"] | {"vgfm_sc.tl", "vgfm_sc.get", "vgfm_sc._time", "tqdm", "scanpy"}


def layer_of(path: Path) -> str:
    first, *others = path.relative_to(ROOT).parts
    if first == "core" and others[0] in ROOMS:
        return f"core.{others[0]}"
    return "" if first == "__init__.py" else first.removesuffix(".py")


def offences(source: str, layer: str, package: str) -> list[str]:
    """Imports that ``layer`` may not make; ``package`` is the dotted name that relative imports start from."""
    found = []
    for name, line in imports(ast.parse(source), package):
        top = name.partition(".")[0]
        if top in sys.stdlib_module_names or name == "vgfm_sc":
            continue
        room = name.startswith("vgfm_sc.core.") and name.split(".")[2] in ROOMS
        unit = ".".join(name.split(".")[: 3 if room else 2]) if top == "vgfm_sc" else top
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
            of = [*base.split(".")[1:], ""] if base.partition(".")[0] == "vgfm_sc" else None
            yield from (
                (f"{base}.{a.name}" if of and is_part("/".join(of) + a.name) else base, node.lineno) for a in node.names
            )
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
        ("from vgfm_sc.core.dynamics.model import Model", "pl"),
        ("import vgfm_sc\nvgfm_sc.tl.simulate", "pl"),
        ("import matplotlib.pyplot as plt", "tl"),
        ("import importlib\nimportlib.import_module('torch')", "pl"),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    pass\nelse:\n    import torch", "pl"),
        ("from vgfm_sc.pl import growth", "get"),
        ("import anndata", "methods"),
        ("import torch", ""),
        ("import torch", "datasets"),
        ("from vgfm_sc.core.training import train", "core"),
        ("from vgfm_sc.core import dynamics", "core"),
        ("from vgfm_sc.core.dynamics.flow import integrate", "core.transport"),
        ("from vgfm_sc.core.transport import drift", "core.dynamics"),
        ("from vgfm_sc.core.reading.distances import wasserstein1", "core.training"),
        ("from ..training import fitting", "core.reading"),
        ("from vgfm_sc.core.cost import probe", "core.training"),
        ("from vgfm_sc.core.reading import fates", "core.cost"),
        ("from vgfm_sc.core.dynamics import model", "methods"),
    ],
)
def test_a_forbidden_import_is_found(source, layer):
    assert offences(source, layer, f"vgfm_sc.{layer}".rstrip("."))


@pytest.mark.parametrize(
    ("source", "layer"),
    [
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch", "pl"),
        ("from . import path\nfrom .coupling import Coupling\nimport torch", "core"),
        ("from . import networks\nfrom .flow import integrate\nfrom vgfm_sc.core import device", "core.dynamics"),
        ("from vgfm_sc.core.transport.drift import carried\nfrom vgfm_sc.core import dynamics", "core.training"),
        ("import vgfm_sc\nvgfm_sc.__version__", "tl"),
    ],
)
def test_an_allowed_import_passes(source, layer):
    assert not offences(source, layer, f"vgfm_sc.{layer}")


def test_no_file_of_core_imports_itself_by_way_of_others():
    files = {module(path): path for path in (ROOT / "core").rglob("*.py")}
    reached = {}
    for name, path in files.items():
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        found = {one for one, _ in imports(ast.parse(path.read_text()), package)}
        reached[name] = {one if one in files else one.rpartition(".")[0] for one in found} & files.keys() - {package}
    for _ in files:  # the longest way there can be
        reached = {name: to.union(*(reached[one] for one in to)) for name, to in reached.items()}
    assert [name for name, to in reached.items() if name in to] == []


def module(path: Path) -> str:
    return ".".join(["vgfm_sc", *path.relative_to(ROOT).with_suffix("").parts]).removesuffix(".__init__")


@pytest.mark.parametrize(
    "folder", [ROOT / "core", *(ROOT / "core" / room for room in ROOMS)], ids=lambda path: path.name
)
def test_a_room_has_about_ten_files_at_most_and_says_what_lives_there(folder):
    assert len(list(folder.glob("*.py"))) <= 11
    assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text()))
