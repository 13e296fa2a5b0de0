"""Read preference pairs of a user's own, and check them before anything learns from them.

All training seeds learn from the same pairs, in orders of their own. The job writes a Parquet file
with columns `prompt`, `chosen` and `rejected`. The reference did not write the completions, so
their log-probabilities are not known here: a trainer computes them.
"""

from __future__ import annotations

from dataclasses import field
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import AutoTokenizer

from dera import chat
from study import job
from tasks.corpora import columns, tables
from tasks.corpora.columns import Texts


@job.settings_class
class ReadingSettings:
    """The config's section `preferences`, and how many tokens a prompt and a completion may have.

    The keys other than `task` and `max_positions` are those of `tasks.corpora.columns.texts`.
    """

    task: str
    max_positions: int
    columns: dict[str, str] = field(default_factory=lambda: dict(columns.OF_PAIRS))
    prompt_ends_with: str | None = None
    skip_unusable: bool = False


def that_fit(pairs: Texts, tokenizer: Any, settings: ReadingSettings) -> Texts:
    """Return the pairs whose prompt fits into the model's positions with either completion.

    Raises:
        tables.TableError: naming the first row that does not fit, unless such rows are skipped.
    """
    prompts = chat.for_prompts(tokenizer)(pairs.prompts).input_ids
    chosen = tokenizer(pairs.columns["chosen"]).input_ids
    rejected = tokenizer(pairs.columns["rejected"]).input_ids
    kept = []
    for number, ids in enumerate(zip(prompts, chosen, rejected, strict=True)):
        prompt, *completions = map(len, ids)
        needed = prompt + max(completions) + 1  # the token that ends a completion
        if needed <= settings.max_positions:
            kept.append(number)
        elif not settings.skip_unusable:
            raise tables.TableError(
                f"{pairs.places[number]}: the prompt and a completion have {needed} tokens, and "
                f"model.max_positions is {settings.max_positions}; raise it, remove the row, "
                f"{columns.SKIPPED}"
            )
    if not kept:
        raise tables.TableError(f"{pairs.places[0]}: neither this pair nor any other fits")
    return pairs.only(kept)


def main() -> None:
    parser = job.parser(__doc__)
    parser.add_argument("--files", required=True, help="the table of the pairs")
    parser.add_argument(
        "--tokenizer", type=Path, required=True, help="folder of a model with the tokenizer"
    )
    parser.add_argument(
        "--test", type=Path, required=True, help="Parquet file with the held-out prompts"
    )
    parser.add_argument("--output", type=Path, required=True, help="Parquet file for the pairs")
    args = parser.parse_args()
    settings = job.settings_of(args, ReadingSettings)
    with job.running(f"{settings.task} preferences", args) as progress:
        # The pairs as they are, and the prompts that no pair may have.
        pairs = columns.texts(tables.read(args.files), args.settings)
        held_out = columns.texts(tables.read(args.test), {"columns": {"prompt": "prompt"}})
        columns.check_apart(pairs, held_out)

        # The pairs that can be trained on.
        pairs = that_fit(pairs, AutoTokenizer.from_pretrained(args.tokenizer), settings)
        progress.say(f"{len(pairs.places)} pairs; {pairs.left_out} rows were left out")
        with job.atomic_path(args.output) as path:
            Dataset.from_dict(pairs.columns).to_parquet(path)


if __name__ == "__main__":
    main()
