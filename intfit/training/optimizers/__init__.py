"""Optimizers: Adam, and SOAP and Muon, which see the weights of a layer as a matrix."""
