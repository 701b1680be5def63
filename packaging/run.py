"""Start Morphony from its checkout: `python3 packaging/run.py [ARGUMENTS]`, on any Python from 3.9 on.

The first start makes .venv and installs into it; every further one goes straight to the program.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Optional

import host
from environment import Environment


def main(arguments: Sequence[str]) -> int:
    """Make ready and become the program; returns an exit code only where that cannot be."""
    environment = prepared(tests=False)
    if environment is None:
        return 1
    return become([str(environment.program("morphony")), *arguments])


def prepared(tests: bool) -> Optional[Environment]:
    """Return the environment, ready; None when it cannot be made so, the reason said in one sentence."""
    try:
        environment = Environment()
        environment.ready(tests)
    except host.SetupError as error:
        host.say(str(error))
    except OSError as error:
        host.say(f"The set-up stopped: {error}.")
    except KeyboardInterrupt:
        host.say("Stopped; the next start sets up anew what was not finished.")
    else:
        return environment
    return None


def become(command: Sequence[str]) -> int:
    """Hand this process over to a program; its exit code is ours."""
    sys.stdout.flush()
    if os.name != "nt":
        os.execv(command[0], list(command))
    return finished(command)  # Windows has no exec


def finished(command: Sequence[str]) -> int:
    """Run a program to its end, Ctrl-C being its own affair; its exit code."""
    with subprocess.Popen(list(command)) as program:
        while True:
            try:
                return program.wait()
            except KeyboardInterrupt:
                continue


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
