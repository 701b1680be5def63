"""Loss terms by name. One registered function is a new term; totals, logs and switches find it here."""

from trainer.losses import kl, reconstruction  # noqa: F401  # importing a module registers its terms
from trainer.losses.registry import CRITIC, MODEL, REGISTRY, Decoded, Term, check, total, weight_of

__all__ = ["CRITIC", "MODEL", "REGISTRY", "Decoded", "Term", "check", "total", "weight_of"]
