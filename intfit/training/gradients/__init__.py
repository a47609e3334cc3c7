"""training/gradients."""
