"""The made world, which needs no network: its grammar, and splits drawn from it."""
