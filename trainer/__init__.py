"""Teaches the engine's model: corpora, losses, the training loop, evaluation. Knows nothing of windows."""
