"""From facts about a place to eat to a sentence or two: state every fact, and invent none.

The data are files of the E2E set: facts, and texts that people wrote to state them. People invent
too, so a reference may learn from their texts to invent.
"""

from __future__ import annotations

import functools
import hashlib
import random
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tasks import by_measure, facts
from tasks.corpora import local_files
from tasks.facts import Facts
from tasks.facts.rule import check
from tasks.text.whole import is_whole

if TYPE_CHECKING:
    from datasets import Dataset

CORPUS = "files"

#: How a prompt begins; a line for each fact follows. It ends with a line break, so that a model
#: without a chat template begins its text in a line of its own.
REQUEST = "Write one or two sentences about this place. State these facts and no others.\n"
#: What the kinds of facts are called in a prompt.
LABELS = {
    "name": "name",
    "eatType": "kind of place",
    "food": "food",
    "priceRange": "price range",
    "customer rating": "customer rating",
    "area": "area",
    "familyFriendly": "family friendly",
    "near": "near",
}
_KIND = {label: kind for kind, label in LABELS.items()}

#: Of the facts in a file that several splits share, each split but the first gets one part.
PARTS = 8
#: The split that keeps a prompt if several have it comes first.
PRIORITY = ("test", "validation", "train")
MEASURES = (
    "statements", "missing", "invented", "hallucinated", "coverage", "wellformed", "gold"
)  # fmt: skip


class DataToTextTask:
    """State the given facts about a place, and no others.

    A rule says which facts a text states, lacks and invents (`tasks.facts.rule`). A wrong value is
    missing and invented, so it counts twice. Gold is minus the number of missing and invented facts
    together. It is at least minus `most_faults`, and it is that for every text that is not whole.

    Args:
        most_faults: more faults than these make gold no lower.
    """

    name = "data_to_text"
    version = 1

    def __init__(self, most_faults: int = 5):
        if not isinstance(most_faults, int) or most_faults < 1:
            raise ValueError(f"most_faults = {most_faults} must be a whole number, and at least 1")
        self.most_faults = most_faults

    def splits(
        self, corpus: Mapping[str, Any], files: Mapping[str, str], seed: int
    ) -> dict[str, Dataset]:
        """Read facts and texts, and make prompts of the facts.

        Rows come in a random order. Of the rows with the same facts, the train split has all and
        the others have one. A row is left out if its facts contradict themselves. Splits may name
        the same file; its facts are then divided among them, by a hash.

        Raises:
            ValueError: if a row's facts have another form than E2E's, or if a split is left empty.
        """
        from datasets import Dataset

        loaded = local_files.load(corpus, files, seed, divided=True)
        taken: set[str] = set()
        splits = {}
        for split in sorted(loaded, key=PRIORITY.index):
            sharing = [name for name in files if files[name] == files[split]]
            rows = []
            for meaning, text in zip(
                loaded[split]["prompt"], loaded[split]["completion"], strict=True
            ):
                prompt = _prompt(meaning)
                if prompt is not None and _part(prompt, sharing) == split:
                    rows.append((prompt, _demonstration(text)))
            random.Random(f"{self.name} {self.version} {split} {seed}").shuffle(rows)
            kept = [row for row in rows if row[0] not in taken]
            if split != "train":
                kept = list({prompt: (prompt, text) for prompt, text in kept}.values())
            if not kept:
                raise ValueError(f"corpus.files.{split}: no facts are left that no other split has")
            taken.update(prompt for prompt, _ in kept)
            prompts, texts = zip(*kept, strict=True)
            splits[split] = Dataset.from_dict({"prompt": prompts, "completion": texts})
        return splits

    def judge(
        self,
        prompts: Sequence[str],
        completions: Sequence[str],
        completion_ids: Sequence[Sequence[int]],
    ) -> dict[str, list[float]]:
        """Compare each completion with the facts of its prompt.

        Returns:
            `statements`: how many kinds of facts the text states rightly or invents. `missing` and
            `invented`: how many it lacks, and how many it invents. `hallucinated`: 1 if it invents.
            `coverage`: the share of the given facts that it states. `wellformed`: 1 if the text is
            whole. `gold`: see the class.

        Raises:
            ValueError: if a prompt is not one of this task.
        """
        rows = [
            self._verdict(prompt, completion)
            for prompt, completion in zip(prompts, completions, strict=True)
        ]
        return by_measure(MEASURES, rows)

    def _verdict(self, prompt: str, completion: str) -> dict[str, float]:
        given = given_facts(prompt)
        verdict = check(given, completion)
        whole = is_whole(completion)
        faults = len(verdict.missing) + len(verdict.invented)
        return {
            "statements": float(len(verdict.stated) + len(verdict.invented)),
            "missing": float(len(verdict.missing)),
            "invented": float(len(verdict.invented)),
            "hallucinated": float(bool(verdict.invented)),
            "coverage": len(verdict.stated) / len(given),
            "wellformed": float(whole),
            "gold": -float(min(faults, self.most_faults) if whole else self.most_faults),
        }


def prompt_of(given: Facts) -> str:
    """Ask for a text that states facts."""
    lines = [f"{LABELS[kind]}: {value}\n" for kind, value in given.items()]
    return REQUEST + "".join(lines)


@functools.lru_cache(maxsize=1 << 14)
def given_facts(prompt: str) -> Facts:
    """Read the facts of a prompt.

    Raises:
        ValueError: if the prompt is not one of this task.
    """
    found = dict(re.findall(r"^([a-z ]+): (.+)$", prompt.removeprefix(REQUEST), re.MULTILINE))
    given = {_KIND[label]: value for label, value in found.items() if label in _KIND}
    if not given or prompt_of(given) != prompt:
        raise ValueError(f"prompt {prompt!r} is no list of facts after {REQUEST!r}")
    return given


def _prompt(meaning: str) -> str | None:
    """Make a prompt of facts as the data write them; None if they contradict themselves."""
    try:
        return prompt_of(facts.parse(meaning))
    except facts.ContradictionError:
        return None
    except ValueError as error:
        raise ValueError(f"corpus.columns.prompt: {error}") from error


def _part(prompt: str, sharing: Sequence[str]) -> str:
    """Return which of the splits that share a file gets a prompt."""
    part = hashlib.sha256(prompt.encode()).digest()[0] % PARTS
    return sharing[part] if part < len(sharing) else sharing[0]


def _demonstration(text: str) -> str:
    """Return a text with single spaces, which ends like a sentence."""
    text = " ".join(text.split())
    return text if text.endswith((".", "!", "?")) else f"{text}."


def create(settings: Mapping[str, Any]) -> DataToTextTask:
    """Make the task from its settings."""
    return DataToTextTask(**settings)
