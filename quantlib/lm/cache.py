"""What a model keeps of the tokens seen so far, so that a new token costs one step and not the whole text again."""

import numpy as np

from quantlib.errors import CheckpointError
from quantlib.lm.shape import Shape


class Cache:
    """Room for the keys and values of so many tokens; the model fills it, `length` tells how far.

    keys, values: of each layer float32 (sequences, kv_heads, capacity, head_dim), taken when it is first used.
    states: of each layer without keys and values whatever it keeps in place of them.
    """

    def __init__(self, shape: Shape, capacity: int, sequences: int = 1):
        self.keys: list[np.ndarray | None] = [None] * shape.layers
        self.values: list[np.ndarray | None] = [None] * shape.layers
        self.states: list[tuple[np.ndarray, ...] | None] = [None] * shape.layers
        self.capacity, self.sequences, self.length = capacity, sequences, 0

    def take(self, layer: int, keys: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Keep the keys and values (sequences, kv_heads, n, head_dim) of new tokens; returns the layer's up to them."""
        stop = self.length + keys.shape[2]
        if stop > self.capacity:
            raise CheckpointError(f"The cache has room for {self.capacity:,} tokens, and {stop:,} were asked of it.")
        if self.keys[layer] is None:
            count, heads, _, width = keys.shape
            self.keys[layer] = np.empty((count, heads, self.capacity, width), np.float32)
            self.values[layer] = np.empty((count, heads, self.capacity, values.shape[-1]), np.float32)
        self.keys[layer][:, :, self.length : stop] = keys
        self.values[layer][:, :, self.length : stop] = values
        return self.keys[layer][:, :, :stop], self.values[layer][:, :, :stop]
