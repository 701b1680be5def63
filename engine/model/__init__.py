"""The model: a Transformer VAE over bars of notes. Knows tensors; no files, no training."""
