"""A palette and its indices, coded without loss: the field of drawn pictures."""
