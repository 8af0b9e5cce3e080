"""The only place that knows key names: read snapshots from AnnData, check them, write results back."""

from vgfm_sc._anndata.keys import MARK, Keys, basis_key, basis_name, check_key
from vgfm_sc._anndata.results import (
    read_fitted,
    read_growth,
    read_result,
    read_trajectories,
    read_velocity,
)
from vgfm_sc._anndata.snapshots import Snapshots, read_representation, read_snapshots, read_time
from vgfm_sc._anndata.writing import check_derived, check_free, write, write_derived

__all__ = [
    "MARK",
    "Keys",
    "Snapshots",
    "basis_key",
    "basis_name",
    "check_derived",
    "check_free",
    "check_key",
    "read_fitted",
    "read_growth",
    "read_representation",
    "read_result",
    "read_snapshots",
    "read_time",
    "read_trajectories",
    "read_velocity",
    "write",
    "write_derived",
]
