"""The networks: coordinates in, values out."""
