"""Sphinx configuration; with DOCS_OFFLINE set, no page of another project is looked up."""

import os
import re
from importlib import metadata
from pathlib import Path

from docutils import nodes
from sphinx.ext.intersphinx import resolve_reference_detect_inventory

project = "vgfm_sc"
author = "the vgfm_sc developers"
copyright = f"2026, {author}"
version = release = metadata.version("vgfm_sc")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinxcontrib.bibtex",
    "sphinxcontrib.katex",
]
templates_path = ["_templates"]
exclude_patterns = ["_build"]
default_role = "py:obj"
nitpicky = True
python_maximum_signature_line_length = 88

html_theme = "sphinx_book_theme"
html_title = "vgfm_sc"
html_static_path = ["_static"]
html_context = {"default_mode": "auto"}
html_css_files = ["custom.css"]
html_theme_options = {
    "home_page_in_toc": False,
    "navbar_persistent": [],  # search stands in the side bar
    "show_navbar_depth": 1,
    "show_toc_level": 2,
    "use_fullscreen_button": False,
}

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

# tutorials are kept beside docs; copied in (git-ignored), they are run and shown like any page
os.environ.pop("MPLBACKEND", None)  # notebooks draw into their page
pages = Path(__file__).parent
(pages / "tutorials").mkdir(exist_ok=True)
for notebook in (pages.parent / "tutorials").glob("*.ipynb"):
    text = notebook.read_text(encoding="utf-8").replace("](../docs/", "](../")
    (pages / "tutorials" / notebook.name).write_text(text, encoding="utf-8")

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3

bibtex_bibfiles = ["references.bib"]
bibtex_default_style = "plain"
bibtex_reference_style = "author_year"

# its style sheet and fonts, of the release that comes with the extension, so that pages need no other server
katex_css_path = "katex/katex.min.css"

# looked up at the other project or, where it cannot be reached, among the few names that we refer to
intersphinx_mapping = {
    name: (url, (None, f"_inventories/{name}.txt"))
    for name, url in {
        "anndata": "https://anndata.readthedocs.io/en/stable",
        "matplotlib": "https://matplotlib.org/stable",
        "numpy": "https://numpy.org/doc/stable",
        "pandas": "https://pandas.pydata.org/docs",
        "python": "https://docs.python.org/3",
        "scanpy": "https://scanpy.readthedocs.io/en/stable",
        "scipy": "https://docs.scipy.org/doc/scipy",
        "torch": "https://docs.pytorch.org/docs/stable",
    }.items()
}
if os.environ.get("DOCS_OFFLINE"):
    intersphinx_mapping = {name: (url, found[-1:]) for name, (url, found) in intersphinx_mapping.items()}

# the networks and units of a model, which nobody builds by hand
nitpick_ignore = [
    ("py:class", "vgfm_sc.core.dynamics.networks.Networks"),
    ("py:class", "vgfm_sc.core.dynamics.scaling.Scaling"),
]

# what annotations and docstrings call it: what its own documentation calls it
ALIASES = {
    "AnnData": "anndata.AnnData",
    "Tensor": "torch.Tensor",
    "anndata._core.anndata.AnnData": "anndata.AnnData",
    "matplotlib.axes._axes.Axes": "matplotlib.axes.Axes",
    "pandas.core.frame.DataFrame": "pandas.DataFrame",
    "pd.DataFrame": "pandas.DataFrame",
    "sc.pp.pca": "scanpy.pp.pca",
    "scipy.sparse._csr.csr_array": "scipy.sparse.csr_array",
    "scipy.sparse._csr.csr_matrix": "scipy.sparse.csr_matrix",
}
# modules without a page: where the method tells what they do
SECTIONS = {
    "vgfm_sc.core.transport.drift": ("method/coupling", "drift"),
    "vgfm_sc.core.transport.growth": ("method/coupling", "shared-growth"),
    "vgfm_sc.core.path": ("method/paths", "paths"),
    "vgfm_sc.core.geodesics": ("method/paths", "along-the-data"),
    "vgfm_sc.core.training.smoothing": ("method/paths", "smooth-joining"),
}


def resolve(app, env, node, contnode):
    """Find what is documented under another name, or in a section of the method."""
    target = node.get("reftarget")
    if target in SECTIONS:
        page, section = SECTIONS[target]
        uri = app.builder.get_relative_uri(node["refdoc"], page)
        return nodes.reference("", "", contnode, internal=True, refuri=f"{uri}#{section}")
    if target in ALIASES:
        node["reftarget"] = ALIASES[target]
        return resolve_reference_detect_inventory(env, node, contnode)
    return None


def valid(app, what, name, obj, options, signature, returns):
    """Write defaults of dataclass fields as Python, without which no annotation of the class is read."""
    if signature:
        signature = re.sub(r"<function (\w+)[^>]*>", r"\1", signature).replace("<factory>", "{}")
    return signature, returns


def setup(app):
    """Called by Sphinx."""
    app.connect("autodoc-process-signature", valid)
    app.connect("missing-reference", resolve)
