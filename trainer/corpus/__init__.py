"""Files to bars: scan a folder (or a table of paths), report on every file, and keep the bars memory-mapped.

`scan` reports, `Corpus.build` keeps. Reading is done by spawned processes; nothing here imports torch.
"""

from trainer.corpus.cache import Corpus, Piece, Pieces
from trainer.corpus.report import FileReport, Summary
from trainer.corpus.scan import CALLED_OFF, list_files, scan

__all__ = ["CALLED_OFF", "Corpus", "FileReport", "Piece", "Pieces", "Summary", "list_files", "scan"]
