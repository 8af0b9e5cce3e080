"""Published scores, by the columns of `everything.py`."""

from __future__ import annotations

PUBLISHED = {
    "gene": {
        "VGFM, published": {"W1": 0.046, "RME": 0.006},
        "VGFM, released code": {"W1": 0.0532, "RME": 0.0031},
        "DeepRUOT, published": {"W1": 0.068, "RME": 0.016},
        "TIGON, published": {"W1": 0.099, "RME": 0.065},
        "UDSB, published": {"W1": 0.665, "RME": 0.192},
        "OT-CFM, published": {"W1": 0.302},
        "OT-MFM, published": {"W1": 0.311},
        "WFR-FM, released code": {"W1": 0.0193, "RME": 0.0013, "growth_r": 0.9916, "CPU s": 780},
    },
    "dyngen": {
        "VGFM, published": {"W1": 0.420, "RME": 0.053},
        "VGFM, released code": {"W1": 0.549, "RME": 0.086},
        "DeepRUOT, published": {"W1": 0.474, "RME": 0.199},
        "TIGON, published": {"W1": 1.029, "RME": 0.542},
        "UDSB, published": {"W1": 1.914, "RME": 0.658},
        "OT-CFM, published": {"W1": 3.926},
        "OT-MFM, published": {"W1": 3.976},
        "WFR-FM, released code": {"W1": 0.130, "RME": 0.0037},
    },
    "mouse": {
        "VGFM, released code": {"W1": 0.115, "RME": 0.041},
        "WOT, published": {"fates": 0.394},
        "FateID, published": {"fates": 0.378},
        "PBA, published": {"fates": 0.358},
        "PRESCIENT, published": {"fates": 0.391},
    },
    "gaussian1000": {
        "VGFM, published": {"W1": 3.010, "RME": 0.037},
        "OT-CFM, published": {"W1": 10.126},
        "OT-MFM, published": {"W1": 11.008},
    },
}
"""By data and method; where each number comes from is told in docs/benchmarks/methods.md."""
