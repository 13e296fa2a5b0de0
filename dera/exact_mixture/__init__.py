"""The exact mixture over whole completions: the sampler's gap to it, and samples of it."""
