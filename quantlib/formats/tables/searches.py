"""Constants of the searches for scales and codes."""

import numpy as np

F32 = np.float32

# Better codes of one scale: how often scale and minimum are fitted, and steps of the minimum.
FITS = 2
MINIMUM_STEP = F32(0.125)  # of a scale; a whole one only renames the codes

# Better codes of a super-block.
BESIDE = 1  # how far a group looks in the end

# IQ1: what levels 0, 1, 2 stand for, shifted up or down.
DELTA = F32(0.125)
UP = np.array([-1, 0, 1], F32) + DELTA
DOWN = np.array([-1, 0, 1], F32) - DELTA
LEAST_S, LEAST_M = F32(1e-12), F32(1e-7)  # groups below are zero
