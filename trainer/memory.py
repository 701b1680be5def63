"""How much memory this process holds, when there is too little, and giving back what is free."""

from __future__ import annotations

import contextlib
import ctypes
import os
from pathlib import Path

import torch

STATM = Path("/proc/self/statm")
RELEASE_EVERY = 100  # steps: it costs half a step


def memory(device: torch.device) -> dict[str, float]:
    """MiB that this process holds, where the system says so; on a GPU also the most it has allocated there."""
    found = {}
    if STATM.exists():
        found["memory_mb"] = int(STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    if device.type == "cuda":
        found["gpu_memory_mb"] = torch.cuda.max_memory_allocated(device) / 2**20
    return found


def release() -> None:
    """Give free memory back to the system, where the allocator (glibc's) keeps it between batches of every size."""
    with contextlib.suppress(AttributeError, OSError, TypeError):  # other systems have no such call
        ctypes.CDLL(None).malloc_trim(0)


def short_of_memory(error: BaseException) -> bool:
    """Whether an error says that there is not enough memory, on whatever device."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "allocate memory" in str(error).lower()
