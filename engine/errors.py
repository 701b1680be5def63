"""The one exception whose text a user reads, and plain words for what the system refuses."""

from __future__ import annotations

import errno

REASONS = {
    errno.ENOENT: "there is no such file or folder",
    errno.ENOSPC: "the disk is full",
    errno.EACCES: "permission is denied",
    errno.EPERM: "permission is denied",
    errno.EROFS: "the disk is read-only",
    errno.EISDIR: "it is a folder",
    errno.ENOTDIR: "a part of its path is not a folder",
    errno.ENAMETOOLONG: "its name is too long",
    errno.EIO: "the disk does not answer as it should",
}
if hasattr(errno, "EDQUOT"):  # not on Windows
    REASONS[errno.EDQUOT] = "your share of the disk is full"


class MorphonyError(Exception):
    """Something a user must know: its text is one clear sentence, naming the file or setting it is about."""


def reason(error: OSError) -> str:
    """The end of a sentence that says why the system refused, without its full stop."""
    return REASONS.get(error.errno or 0) or (error.strerror or str(error) or type(error).__name__).rstrip(".")
