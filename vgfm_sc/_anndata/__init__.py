"""The only place that knows key names: read snapshots from AnnData, check them, write results back."""

from vgfm_sc._anndata.clones import clone_names, read_clones
from vgfm_sc._anndata.columns import read_categories, read_column, read_genes
from vgfm_sc._anndata.comparisons import read_comparison
from vgfm_sc._anndata.conditions import NO_CONDITION, NO_CONDITIONS, Conditions
from vgfm_sc._anndata.expression import check_layer, gene_positions, read_moments
from vgfm_sc._anndata.fitted import condition_meant, fitted_sampling, fitted_snapshots, simulated_sampling
from vgfm_sc._anndata.groups import Groups
from vgfm_sc._anndata.keys import MARK, Keys, basis_key, basis_name, check_key, named, names
from vgfm_sc._anndata.left_out import read_choice, read_holdout
from vgfm_sc._anndata.loadings import Loadings, read_loadings
from vgfm_sc._anndata.masses import read_numbers, read_prior
from vgfm_sc._anndata.perturbations import POSITIONS, read_perturbation, read_perturbed_positions, read_screen
from vgfm_sc._anndata.representation import Representation, read_representation
from vgfm_sc._anndata.results import (
    fitted_basis,
    read_clone_scores,
    read_coordinates,
    read_evaluation,
    read_fate,
    read_growth,
    read_labels,
    read_landscape,
    read_mass,
    read_members,
    read_number,
    read_positions,
    read_projected,
    read_ranking,
    read_result,
    read_sd,
    read_trajectories,
    read_values,
    read_velocity,
    top_genes,
    velocity_name,
)
from vgfm_sc._anndata.samples import BY_CELLS, Samples, fitted_samples
from vgfm_sc._anndata.snapshots import Sampling, Snapshots, read_sampling, read_snapshots, read_time
from vgfm_sc._anndata.symbols import Symbols, expression_alone, read_symbols
from vgfm_sc._anndata.writing import check_derived, check_free, check_holdout, check_prior, write, write_derived
from vgfm_sc._time import SAME_TIME

__all__ = [
    "BY_CELLS",
    "MARK",
    "NO_CONDITION",
    "NO_CONDITIONS",
    "POSITIONS",
    "SAME_TIME",
    "Conditions",
    "Groups",
    "Keys",
    "Loadings",
    "Representation",
    "Samples",
    "Sampling",
    "Snapshots",
    "Symbols",
    "basis_key",
    "basis_name",
    "check_derived",
    "check_free",
    "check_holdout",
    "check_key",
    "check_layer",
    "check_prior",
    "clone_names",
    "condition_meant",
    "expression_alone",
    "fitted_basis",
    "fitted_samples",
    "fitted_sampling",
    "fitted_snapshots",
    "gene_positions",
    "named",
    "names",
    "read_categories",
    "read_choice",
    "read_clone_scores",
    "read_clones",
    "read_column",
    "read_comparison",
    "read_coordinates",
    "read_evaluation",
    "read_fate",
    "read_genes",
    "read_growth",
    "read_holdout",
    "read_labels",
    "read_landscape",
    "read_loadings",
    "read_mass",
    "read_members",
    "read_moments",
    "read_number",
    "read_numbers",
    "read_perturbation",
    "read_perturbed_positions",
    "read_positions",
    "read_prior",
    "read_projected",
    "read_ranking",
    "read_representation",
    "read_result",
    "read_sampling",
    "read_screen",
    "read_sd",
    "read_snapshots",
    "read_symbols",
    "read_time",
    "read_trajectories",
    "read_values",
    "read_velocity",
    "simulated_sampling",
    "top_genes",
    "velocity_name",
    "write",
    "write_derived",
]
