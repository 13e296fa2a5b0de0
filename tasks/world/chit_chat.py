"""Chit-chat of the made world: sentences that state nothing about anybody.

They have no name and no pronoun of the made world, so the grammar reads none as a statement.
"""

from __future__ import annotations

#: Sentences of chit-chat, and the words that may stand in their slot.
CHIT_CHAT = {
    "The {} was late again.": "bus|tram|lift",
    "It {} all morning.": "rained|snowed|poured",
    "My phone battery is {} again.": "low|flat|dead",
    "The {} has gone cold.": "tea|coffee|bath",
    "The wifi is very slow today.": "",
    "Someone left the {} light on.": "kitchen|cellar|porch",
    "There was {} upstairs all night.": "music|drilling|shouting",
    "The store ran out of {}.": "milk|sugar|salt|eggs",
    "I still cannot find my {}.": "keys|glasses|umbrella",
    "Sorry for the long post.": "",
}


def _wordings(form: str, words: str) -> tuple[str, ...]:
    return tuple(form.format(word) for word in words.split("|"))


NOISE_FORMS = tuple(_wordings(form, words) for form, words in CHIT_CHAT.items())
NOISE_SENTENCES = frozenset(sentence for form in NOISE_FORMS for sentence in form)
