"""``python -m portald`` is ``portald``."""

import sys

from portald.daemon import main

if __name__ == "__main__":
    sys.exit(main())
