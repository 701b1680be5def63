"""Every figure by which the model is judged, on held-out pieces."""

from trainer.evaluate.run import FIGURES, Progress, evaluate

__all__ = ["FIGURES", "Progress", "evaluate"]
