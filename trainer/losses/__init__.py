"""Loss terms by name. One registered function is a new term; totals, logs and switches find it here."""

from trainer.losses import (  # noqa: F401  # importing a module registers its terms
    adversarial,
    attribute,
    auxiliary,
    constraint,
    kl,
    reconstruction,
    regularity,
)
from trainer.losses.registry import CRITIC, MODEL, REGISTRY, Decoded, Term, check, fits, total, weight_of

__all__ = ["CRITIC", "MODEL", "REGISTRY", "Decoded", "Term", "check", "fits", "total", "weight_of"]
