"""What latent dimensions do and how well they keep musical attributes apart."""

from engine.analysis.activity import replacement_costs, varying
from engine.analysis.disentanglement import Disentanglement, disentanglement
from engine.analysis.paths import interpolation, moved, traversal

__all__ = [
    "Disentanglement",
    "disentanglement",
    "interpolation",
    "moved",
    "replacement_costs",
    "traversal",
    "varying",
]
