"""What the bundled program runs first: the command line, as `python -m app` does."""

import sys

from app.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
