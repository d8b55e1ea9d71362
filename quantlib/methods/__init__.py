"""How codes are chosen: arrays in, frozen results out; a method never sees a model."""
