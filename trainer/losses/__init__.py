"""Loss terms by name. One registered function is a new term; totals, logs and switches find it here."""

from trainer.losses.registry import REGISTRY, Decoded, Term, total

# Importing the modules registers their terms.
from trainer.losses import kl, reconstruction  # noqa: F401, I001  # imported for registration, after the registry

__all__ = ["REGISTRY", "Decoded", "Term", "total"]
