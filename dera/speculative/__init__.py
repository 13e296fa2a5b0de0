"""Speculative decoding of the mixture: one of its models drafts tokens and the others verify them.

The text follows the mixture exactly (Leviathan et al. 2023; Chen et al. 2023). The modules follow
one round of it:

1. `draft_length` chooses how many tokens to draft, from how often drafts have been accepted.
2. `drafting` draws a run of tokens from one model, the drafter.
3. `verifying` reads the run with the other models, the verifiers, in one pass each.
4. `choosing` compares the models with the mixture. `acceptance_rule` keeps drafts, and replaces the
   first draft that is refused.
5. `draft_cache` takes back what the models have read of refused drafts.

`rounds` repeats this until all rows have ended, and `loop` is the entry for callers.
"""
