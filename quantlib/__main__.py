"""python -m quantlib"""

import gc
import sys

gc.set_threshold(100_000)  # what starting makes is there to stay: looking through it for garbage takes a tenth of it

from quantlib.cli import main  # noqa: E402

sys.exit(main())
