"""Speculative decoding of the mixture: one of its models drafts tokens and the others verify them.

The text follows the mixture exactly (Leviathan et al. 2023; Chen et al. 2023). A round of it reads:

1. `draft_length` chooses how many tokens to draft, from how often drafts have been accepted.
2. `drafting` draws a run of tokens from one model, the drafter.
3. `verifying` reads the run with the other models, the verifiers, in one pass each.
4. `choosing` compares, and `acceptance_rule` keeps drafts or replaces the first that is refused.
5. `draft_cache` takes back what the models have read of refused drafts.

`rounds` repeats this until all rows have ended, and `loop` is what callers see of it.
"""
