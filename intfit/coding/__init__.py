"""From a field's parameters to bytes and back."""
