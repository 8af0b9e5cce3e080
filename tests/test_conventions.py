from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import vgfm_sc

ROOT = Path(vgfm_sc.__file__).parent
NEED_TORCH = {"tl", "methods"}


def has_torch() -> bool:
    try:
        import torch  # noqa: F401
    except ImportError:
        return False
    return True


def public(*parts: str) -> list:
    """Public functions of those parts that this interpreter can import."""
    modules = {p: importlib.import_module(f"vgfm_sc.{p}") for p in parts if p not in NEED_TORCH or has_torch()}
    return [pytest.param(getattr(m, name), id=f"{part}.{name}") for part, m in modules.items() for name in m.__all__]


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("function", public("tl", "pl"))
def test_signature_starts_with_adata_and_has_few_positional_parameters(function):
    parameters = list(inspect.signature(function).parameters.values())
    assert parameters[0].name == "adata"
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    assert len(positional) <= 3
    assert all(p.kind is p.KEYWORD_ONLY and p.default is False for p in parameters if p.name == "copy")


@pytest.mark.parametrize("function", public("tl", "pl", "get", "datasets", "methods"))
def test_docstring_names_every_parameter(function):
    doc = inspect.getdoc(function)
    assert doc, "no docstring"
    section = re.search(r"^Parameters\n-+\n(.*?)(?=^\w+\n-{3,}|\Z)", doc, flags=re.M | re.S)
    named = re.findall(r"^(?:\*\*)?(\w+(?:, \w+)*)$", section[1], flags=re.M) if section else []
    documented = {name for line in named for name in line.split(", ")}
    assert documented == set(inspect.signature(function).parameters)


@pytest.mark.parametrize("part", vgfm_sc.__all__)
def test_part_lists_what_it_exports(part):
    if part in NEED_TORCH and not has_torch():
        pytest.skip("no torch here")
    module = importlib.import_module(f"vgfm_sc.{part}")
    assert module.__all__ == sorted(module.__all__)
    assert all(hasattr(module, name) for name in module.__all__)
    assert dir(module) == module.__all__  # what completion shows


def test_import_is_light():
    loaded = run_python("import sys, vgfm_sc; print(*sys.modules)").split()
    assert "vgfm_sc" in loaded
    assert not {"torch", "ot", "scanpy", "matplotlib.pyplot", "anndata"} & set(loaded)


@pytest.mark.slow
def test_tools_load_what_few_calls_need_when_it_is_needed():
    pytest.importorskip("torch")
    loaded = run_python("import sys, vgfm_sc.tl; print(*sys.modules)").split()
    assert "vgfm_sc.tl" in loaded
    assert not {"ot", "sklearn", "scipy.stats", "scipy.optimize", "matplotlib", "scanpy"} & set(loaded)


@pytest.mark.slow
def test_fit_does_not_load_the_compiler_of_torch():
    pytest.importorskip("torch")
    loaded = run_python(
        "import sys\n"
        "from vgfm_sc import datasets, tl\n"
        "adata = datasets.toggle_switch(n_per_branch=30)\n"
        "few = {'match_steps': 3, 'fit_steps': 2, 'width': 8, 'progress': False}\n"
        "tl.fit(adata, 'time', use_rep='X_genes', **few)\n"
        "print(*sys.modules)"
    ).split()
    assert "vgfm_sc.core.training.fitting" in loaded
    assert not {"torch._dynamo", "sklearn", "ot", "scipy.stats"} & set(loaded)


@pytest.mark.parametrize("part", ["datasets", "get", "_anndata", "pl"])
def test_part_imports_without_torch(part):
    run_python(f"import sys; sys.modules['torch'] = sys.modules['ot'] = None; import vgfm_sc.{part}")


def test_unknown_part_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'preprocess'"):
        _ = vgfm_sc.preprocess
    assert {"tl", "pl", "__version__"} <= set(dir(vgfm_sc))


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_printed(path):
    calls = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
    assert not [n.lineno for n in calls if ast.unparse(n.func) == "print"]


def test_package_is_typed():
    assert (ROOT / "py.typed").is_file()


def test_version_is_that_of_the_installed_package():
    assert vgfm_sc.__version__ == version("vgfm_sc")


OF_0_1 = json.loads((Path(__file__).parent / "data" / "names_of_0_1.json").read_text())
"""Public functions of version 0.1 and their parameters, as its signatures had them."""


@pytest.mark.parametrize("function", OF_0_1)
def test_calls_of_version_0_1_still_name_what_there_is(function):
    part, name = function.split(".")
    if part in NEED_TORCH and not has_torch():
        pytest.skip("no torch here")
    parameters = inspect.signature(getattr(importlib.import_module(f"vgfm_sc.{part}"), name)).parameters
    before = OF_0_1[function].split()
    assert set(before) <= set(parameters)
    by_place = [p.name for p in parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    kept = [name for name in before if name in by_place]
    assert by_place[: len(kept)] == kept


def test_a_module_that_has_moved_says_where_to():
    moved = importlib.import_module("vgfm_sc.core.model")
    with pytest.raises(ImportError, match=r"from vgfm_sc\.core\.dynamics\.model import Model$"):
        _ = moved.Model
    assert not hasattr(moved, "__path__")  # what Python asks a module for is answered as usual
