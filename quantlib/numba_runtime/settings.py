"""What a person may set: QUANTLIB_NUMBA=plain in the environment turns off all that numba does not document."""

import os

PLAIN = os.environ.get("QUANTLIB_NUMBA") == "plain"
