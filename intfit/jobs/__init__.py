"""Files in, files out: which inputs, what is done for each, and how many at once."""
