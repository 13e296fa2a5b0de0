"""The exact mixture over whole completions: how far the sampler is from it, how to sample it."""
