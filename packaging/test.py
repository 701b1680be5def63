"""Run Morphony's tests from its checkout: `python3 packaging/test.py [PYTEST ARGUMENTS]`, on any Python from 3.9 on.

Installs what the tests need besides; they bring their own display and their own JACK server. pytest runs twice: on all
cores with what bears company, then, one by one, with what hangs on time. Its last lines are two; the exit code is one.
"""

import os
import re
import sys
from collections.abc import Sequence

from environment import ROOT
from run import become, finished, prepared

WATCHED = re.compile(r"-s$|-n|--co$|--(numprocesses|dist|capture|collect-only|pdb|trace|fixtures|markers)")
NONE_FOUND = 5  # pytest's exit code where no test was asked for


def main(arguments: Sequence[str]) -> int:
    """Make ready and run pytest; returns its exit code, of both runs the one that says more."""
    environment = prepared(tests=True)
    if environment is None:
        return 1
    os.chdir(ROOT)
    pytest = [str(environment.program("python")), "-m", "pytest"]
    if any(map(WATCHED.match, arguments)):
        return become([*pytest, *arguments])  # somebody looks on, or has a way of their own
    together = finished([*pytest, "--alone=never", "-n", "logical", "--dist=worksteal", *arguments])
    if together not in (0, 1, NONE_FOUND):  # interrupted, or not understood
        return together
    alone = finished([*pytest, "--alone=only", "--cov-append", *arguments])
    return together if alone in (0, NONE_FOUND) and together != NONE_FOUND else alone


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
