"""From a field's parameters to the bytes of a file and back. Knows nothing of torch."""
