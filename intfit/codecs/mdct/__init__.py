"""codecs/mdct."""
