"""Training: the loop and its steps, examples, scoring, quantisation steps, the optimizer."""
