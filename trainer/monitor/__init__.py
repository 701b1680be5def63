"""Watches a run while it trains: warnings in words, trends, files for TensorBoard, and music along the way."""

from trainer.monitor.stream import monitored
from trainer.monitor.watches import WATCHES, Alert, Monitor

__all__ = ["WATCHES", "Alert", "Monitor", "monitored"]
