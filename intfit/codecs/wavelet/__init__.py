"""Images as quantised wavelet coefficients, with post-filters behind them."""
