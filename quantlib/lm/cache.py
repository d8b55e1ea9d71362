"""Keys and values of the tokens seen so far, so that a new token costs one step and not the whole text again."""

import numpy as np

from quantlib.errors import CheckpointError
from quantlib.lm.architectures import Shape


class Cache:
    """Room for the keys and values of so many tokens; the model fills it, `length` tells how far.

    keys, values: float32 (layers, sequences, kv_heads, capacity, head_dim), taken once.
    """

    def __init__(self, shape: Shape, capacity: int, sequences: int = 1):
        size = (shape.layers, sequences, shape.kv_heads, capacity, shape.head_dim)
        self.keys, self.values = np.empty(size, np.float32), np.empty(size, np.float32)
        self.capacity, self.length = capacity, 0

    def take(self, layer: int, keys: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Keep the keys and values (sequences, kv_heads, n, head_dim) of new tokens; returns the layer's up to them."""
        stop = self.length + keys.shape[2]
        if stop > self.capacity:
            raise CheckpointError(f"The cache has room for {self.capacity:,} tokens, and {stop:,} were asked of it.")
        self.keys[layer][:, :, self.length : stop] = keys
        self.values[layer][:, :, self.length : stop] = values
        return self.keys[layer][:, :, :stop], self.values[layer][:, :, :stop]
