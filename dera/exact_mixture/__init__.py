"""The exact mixture over whole completions: how far the sampler is from it, and how to sample it."""
