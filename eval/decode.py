"""Decode policies on the held-out prompts. Every kind of policy is decoded by this job.

The job writes completions.parquet with a row for each completion. A row has the columns of
`eval.columns`, the numbers of the prompt and of the sample, the text, its token ids, whether it
ended by itself, and its log-probabilities (see `eval.samplers`). The job also writes decoding.json
with the seconds that each policy took, and the seed, settings and versions that all of them share.
The policies of one job share its models and its random numbers.

Settings: `eval.decode_settings.Decoding`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from datasets import Dataset
from peft import PeftConfig
from transformers import AutoModelForCausalLM

from dera import chat
from dera.decoding import Completions
from dera.model.adapters import is_adapter
from dera.model.realigned import RealignedModel
from eval.columns import POLICY_COLUMNS
from eval.decode_settings import AnyPolicy, Baseline, Decoding
from eval.samplers import Decoder, Row, Sampler, samplers
from study import job, provenance


def held_out(file: Path, count: int) -> list[str]:
    """Read the first `count` prompts of a Parquet file.

    Raises:
        ValueError: if the file has fewer.
    """
    prompts = list(Dataset.from_parquet(str(file))["prompt"][:count])
    if len(prompts) < count:
        raise ValueError(
            f"evaluation.prompts = {count}: the test split has only {len(prompts)}; "
            "lower evaluation.prompts or raise corpus.documents.test"
        )
    return prompts


def shares_lower_blocks(folder: Path, policies: Iterable[AnyPolicy]) -> bool:
    """Return whether the reference and an aligned model are decoded faster with the adapter apart.

    They are where the adapter begins above the lowest block: both models then share what the blocks
    below it compute. Baselines need two whole models.
    """
    if not is_adapter(folder) or any(isinstance(policy, Baseline) for policy in policies):
        return False
    blocks = PeftConfig.from_pretrained(str(folder)).layers_to_transform
    return isinstance(blocks, list) and min(blocks, default=0) > 0


def load(reference: Path, adapters: list[Path], policies: Iterable[AnyPolicy] = ()) -> Any:
    """Load the reference alone, or the realigned model of it and one or two adapters.

    An adapter is merged into a copy of the reference, which mostly decodes faster.

    Args:
        reference: the folder of the reference.
        adapters: the folders of the adapters or whole aligned models.
        policies: what is to be decoded.
    """
    if not adapters:
        model = AutoModelForCausalLM.from_pretrained(reference, use_safetensors=True).eval()
    elif len(adapters) == 1:
        merge = not shares_lower_blocks(adapters[0], policies)
        model = RealignedModel.from_pretrained(reference, adapters[0], merge_adapter=merge)
    else:
        aligned = dict(zip(("first", "second"), adapters, strict=True))
        model = RealignedModel.from_pretrained(reference, aligned, merge_adapter=True)
    return model.to(job.device())


def rows_to_decode(prompts: int, variants: list[Row], samples: int) -> list[Row]:
    """List the completions to draw, prompt by prompt, so that a batch has few prompts.

    Decoding reads a prompt once for all its rows in a batch.
    """
    rows = []
    for prompt_id in range(prompts):
        for variant in variants:
            for sample_id in range(samples):
                rows.append({"prompt_id": prompt_id, **variant, "sample_id": sample_id})
    return rows


def text_columns(completions: Completions, tokenizer: Any) -> dict[str, list]:
    """Return completions as text and token ids, and whether they ended by themselves."""
    ids = completions.token_ids()
    return {
        "completion": tokenizer.batch_decode(ids),
        "token_ids": ids,
        "finished": completions.finished(),
    }


class DecodingJob:
    """Decodes policies in batches, keeping the time and reporting progress."""

    def __init__(
        self, settings: Decoding, prompts: list[str], decoder: Decoder, progress: job.Progress
    ):
        self.settings = settings
        self.prompts = prompts
        self.decoder = decoder
        self.progress = progress
        self.done = 0

    def decode(self, sampler: Sampler, samples: int) -> tuple[pd.DataFrame, dict[str, Any]]:
        """Draw all completions of a sampler.

        Returns:
            The table of the completions, and the record of the sampler in decoding.json. Its
            `decoding_seconds` include scoring only where that happens while decoding.
        """
        rows = rows_to_decode(len(self.prompts), sampler.variants, samples)
        tables = []
        seconds = 0.0
        for start in range(0, len(rows), self.settings.batch_size):
            batch = rows[start : start + self.settings.batch_size]
            texts = [self.prompts[row["prompt_id"]] for row in batch]

            # Only what decodes is timed.
            before = time.monotonic()
            completions, scores = sampler.sample(texts, batch)
            seconds += time.monotonic() - before

            # Samplers that do not score while they decode score here.
            columns = text_columns(completions, self.decoder.tokenizer)
            columns |= sampler.columns(completions, scores)
            tables.append(pd.DataFrame(batch).assign(**columns))
            self.done += len(batch)
            self.progress.update(self.done, self.settings.completions(), "completions")

        table = pd.concat(tables, ignore_index=True).assign(**sampler.labels)
        record = {
            **sampler.labels,
            "lams": len(sampler.variants),
            "completions": len(rows),
            "decoding_seconds": seconds,
        }
        return table, record

    def decode_all(self) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
        """Draw the completions of every policy of the settings, in their order."""
        tables = []
        records = []
        for policy in self.settings.policies:
            for sampler in samplers(self.decoder, policy):
                table, record = self.decode(sampler, self.settings.samples_of(policy))
                tables.append(table)
                records.append(record)
        return pd.concat(tables, ignore_index=True), records


def with_policy_columns(table: pd.DataFrame, task: str) -> pd.DataFrame:
    """Put the columns first that say which policy drew a completion.

    A column is empty where it does not apply to the policy.
    """
    table = table.assign(task=task)
    missing = [name for name in POLICY_COLUMNS if name not in table]
    table = table.assign(**dict.fromkeys(missing))
    of_completions = [name for name in table.columns if name not in POLICY_COLUMNS]
    return table[[*POLICY_COLUMNS, *of_completions]]


def save(
    args: argparse.Namespace, task: str, table: pd.DataFrame, records: list[dict[str, Any]]
) -> None:
    """Write completions.parquet and decoding.json."""
    record = {
        "policies": records,
        "labels": {"task": task},
        "seed": args.seed,
        "settings": args.settings,
        "versions": provenance.versions(),
    }
    with job.atomic_path(args.output) as folder:
        folder.mkdir()
        with_policy_columns(table, task).to_parquet(folder / "completions.parquet", index=False)
        job.write_json(folder / "decoding.json", record)


def main() -> None:
    parser = job.parser(__doc__)
    parser.add_argument("--reference", type=Path, required=True, help="folder of the reference")
    parser.add_argument(
        "--adapters",
        type=Path,
        nargs="+",
        default=[],
        help="folders of the adapters or whole aligned models: none to decode the reference, one "
        "to decode policies of one aligned model, two (in the order of the mixing weights) for "
        "several rewards",
    )
    parser.add_argument(
        "--prompts", type=Path, required=True, help="Parquet file with a column prompt"
    )
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        help="folder for completions.parquet and decoding.json",
    )
    args = parser.parse_args()
    settings = job.settings_of(args, Decoding)
    if len(args.adapters) != settings.adapters():
        parser.error(
            f"these policies need {settings.adapters()} --adapters, got {len(args.adapters)}"
        )
    with job.running(f"{settings.task} decode {args.output.name}", args) as progress:
        prompts = held_out(args.prompts, settings.prompts)
        tokenizer = chat.prompt_tokenizer(args.reference)
        model = load(args.reference, args.adapters, settings.policies)
        decoder = Decoder(model, tokenizer, settings.max_new_tokens)
        torch.manual_seed(args.seed)
        table, records = DecodingJob(settings, prompts, decoder, progress).decode_all()
        save(args, settings.task, table, records)


if __name__ == "__main__":
    main()
