"""Run Morphony's tests from its checkout: `python3 packaging/test.py [PYTEST ARGUMENTS]`, on any Python from 3.9 on.

Installs what the tests need besides; they bring their own display and their own JACK server.
"""

import os
import sys
from collections.abc import Sequence

from environment import ROOT
from run import become, prepared


def main(arguments: Sequence[str]) -> int:
    """Make ready and become pytest; returns an exit code only where that cannot be."""
    environment = prepared(tests=True)
    if environment is None:
        return 1
    os.chdir(ROOT)
    return become([str(environment.program("python")), "-m", "pytest", *arguments])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
