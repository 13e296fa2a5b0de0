"""The front page of a study's results, and the explorer of text over lam that stands on it."""
