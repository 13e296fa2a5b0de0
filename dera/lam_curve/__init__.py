"""Any metric at every lam from completions sampled at a few, and the strength to choose."""
