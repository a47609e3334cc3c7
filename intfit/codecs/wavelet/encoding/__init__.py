"""How a picture's latents and networks are found: what a decoder does without."""
