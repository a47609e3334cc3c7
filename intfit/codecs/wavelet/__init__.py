"""codecs/wavelet."""
