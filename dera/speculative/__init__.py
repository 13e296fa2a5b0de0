"""Speculative decoding of the mixture: one of its models drafts, the others verify."""
