"""codecs/siren."""
