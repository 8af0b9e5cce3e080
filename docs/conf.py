"""Sphinx configuration; with DOCS_OFFLINE set, no page of another project is looked up."""

import os
from importlib import metadata

project = "vgfm_sc"
author = "the vgfm_sc developers"
copyright = f"2026, {author}"
version = release = metadata.version("vgfm_sc")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinxcontrib.bibtex",
]
templates_path = ["_templates"]
exclude_patterns = ["_build"]
default_role = "py:obj"
html_theme = "furo"
html_title = "vgfm_sc"
python_maximum_signature_line_length = 88

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "signature"
autosummary_generate = True

napoleon_google_docstring = False
napoleon_attr_annotations = False
napoleon_use_param = False
napoleon_use_rtype = False
# kept as written: returned fields are listed with their slots, which are no types
napoleon_custom_sections = ["Returns", "Glossary"]

nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 900

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3

bibtex_bibfiles = ["references.bib"]
bibtex_default_style = "plain"
bibtex_reference_style = "author_year"

intersphinx_mapping = {
    "anndata": ("https://anndata.readthedocs.io/en/stable", None),
    "matplotlib": ("https://matplotlib.org/stable", None),
    "numpy": ("https://numpy.org/doc/stable", None),
    "pandas": ("https://pandas.pydata.org/docs", None),
    "python": ("https://docs.python.org/3", None),
    "scanpy": ("https://scanpy.readthedocs.io/en/stable", None),
    "scipy": ("https://docs.scipy.org/doc/scipy", None),
    "torch": ("https://docs.pytorch.org/docs/stable", None),
}
if os.environ.get("DOCS_OFFLINE"):
    intersphinx_mapping = {}
