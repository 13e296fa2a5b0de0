"""Documents of the made world, and summaries that restate some of their facts.

A document states three facts about one person. A summary keeps some of them in the same order,
tersely or in detail. So the lengths of summaries vary widely and do not depend on the document.
"""

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

    The number of facts kept is uniform on 1..3. The summary is terse or detailed with equal
    probability. Neither depends on the document, so summaries have from 4 to about 30 words.
    """
    # A person, and a document of facts about them.
    name, pronoun = grammar.draw_person(rng)
    facts = grammar.draw_facts(rng, FACTS_PER_DOCUMENT)
    told = [grammar.phrase(fact, "document", rng) for fact in facts]

    # A summary of some of the facts.
    kept = sorted(rng.sample(range(FACTS_PER_DOCUMENT), rng.randint(1, FACTS_PER_DOCUMENT)))
    style = rng.choice(("terse", "detailed"))
    restated = [grammar.phrase(facts[i], style, rng) for i in kept]
    return grammar.sentences(told, name, pronoun), grammar.sentences(restated, name, pronoun)


def load(settings: Mapping[str, Any], files: Mapping[str, str], seed: int) -> dict[str, Dataset]:
    """Draw as many documents for each split as `settings["documents"]` says.

    Args:
        settings: the config's section `corpus`.
        files: not used, because nothing is read.
        seed: seed of everything that is drawn.

    Returns:
        One Dataset for each split, with columns `prompt` and `completion`.
    """
    return drawn.splits(draw_pair, settings["documents"], f"made world {VERSION} {seed}")
