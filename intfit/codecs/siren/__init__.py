"""SIRENs as whole fields."""
