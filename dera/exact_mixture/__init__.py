"""The exact sequence-level mixture: how far the sampler is from it, and how to sample it."""
