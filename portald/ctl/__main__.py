"""``python -m portald.ctl`` is ``portalctl``."""

import sys

from portald.ctl.main import main

sys.exit(main())
