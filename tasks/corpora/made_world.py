"""Documents of the made world: three facts about one person, and a summary that restates some of them in the same order,
tersely or in detail, so the lengths of summaries vary widely and do not depend on the document."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from datasets import Dataset

from tasks.world import drawn, grammar

VERSION = 1
FACTS_PER_DOCUMENT = 3


def draw_pair(rng: random.Random) -> tuple[str, str]:
    """Draw one document and one summary of it.

    The number of facts kept is uniform on 1..3 and the summary is terse or detailed with equal
    probability, both independent of the document, so that summaries run from 4 to about 30 words.
    """
    name, pronoun = grammar.draw_person(rng)
    facts = grammar.draw_facts(rng, FACTS_PER_DOCUMENT)
    document = grammar.sentences(
        [grammar.phrase(fact, "document", rng) for fact in facts], name, pronoun
    )
    kept = sorted(rng.sample(range(FACTS_PER_DOCUMENT), rng.randint(1, FACTS_PER_DOCUMENT)))
    style = rng.choice(("terse", "detailed"))
    return document, grammar.sentences(
        [grammar.phrase(facts[i], style, rng) for i in kept], name, pronoun
    )


def load(settings: Mapping[str, Any], files: Mapping[str, str], seed: int) -> dict[str, Dataset]:
    """Nothing is read, `files` is empty. Return one Dataset with columns `prompt` and `completion` for each split in `settings["documents"]`."""
    return drawn.splits(draw_pair, settings["documents"], f"made world {VERSION} {seed}")
