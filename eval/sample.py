"""Decode the reference, or an adapter, on the held-out prompts.

Policies: `reference` (without `--adapter`), `retrained` (the adapter alone) and `dera` (the adapter as the anchor, at every lam of
`--lams`; in the same job, because importing the libraries takes longer than decoding a policy). A row a completion goes to the output, with log-probabilities under the policy, the reference and the adapter.

Settings: the config's `evaluation` section, and `max_new_tokens`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer

from dera.decoding import Completions, sample_completions
from dera.model.realigned import RealignedModel
from dera.scoring import SequenceScores, log_probabilities, sample_and_score, score_completions
from study import job, provenance


def rows_to_decode(
    prompts: int, samples: int, lams: list[Fraction | None]
) -> Iterator[dict[str, Any]]:
    """One row a completion, prompt by prompt, so that a batch holds like prompts and many lam."""
    for prompt_id in range(prompts):
        for lam in lams:
            for sample_id in range(samples):
                yield {"prompt_id": prompt_id, "sample_id": sample_id, "lam": lam}


def decode(
    model: Any, tokenizer: Any, prompts: list[str], lams: list[Fraction | None], room: int
) -> tuple[Completions, SequenceScores | None]:
    """Sample one batch; scores come with it for DeRa. `lams` is None throughout for the reference or an adapter alone."""
    if lams[0] is not None:
        weights = torch.tensor([float(lam) for lam in lams if lam is not None])
        return sample_and_score(model, tokenizer, prompts, room, weights)
    alone = model.aligned if isinstance(model, RealignedModel) else model
    return sample_completions(alone, tokenizer, prompts, room), None


def text_of(completions: Completions, tokenizer: Any) -> dict[str, list]:
    """Completions as text and token ids, and whether they ended by themselves."""
    ids = completions.token_ids()
    return {
        "completion": tokenizer.batch_decode(ids),
        "token_ids": ids,
        "finished": completions.finished(),
    }


def scores_of(
    model: Any, completions: Completions, scores: SequenceScores | None
) -> dict[str, list]:
    """Sequence log-probabilities, and for a pair the log importance weight toward the exact mixture."""
    if not isinstance(model, RealignedModel):
        log_prob = log_probabilities(model, completions).tolist()
        return {"logp_policy": log_prob, "logp_reference": log_prob}
    scores = scores or score_completions(model, completions, 1.0)
    return {
        "logp_policy": scores.sampler.tolist(),
        "logp_reference": scores.reference.tolist(),
        "logp_aligned": scores.aligned.tolist(),
        "log_weight": scores.log_weight.tolist(),
    }


def decode_policy(
    model: Any,
    tokenizer: Any,
    prompts: list[str],
    rows: list[dict[str, Any]],
    settings: dict[str, Any],
    progress: job.Progress,
) -> tuple[pd.DataFrame, float]:
    """Every row sampled and scored, and the seconds that sampling took."""
    decoding, tables = 0.0, []
    for start in range(0, len(rows), settings["batch_size"]):
        batch = rows[start : start + settings["batch_size"]]
        texts, lams = [prompts[row["prompt_id"]] for row in batch], [row["lam"] for row in batch]
        before = time.monotonic()
        completions, scores = decode(model, tokenizer, texts, lams, settings["max_new_tokens"])
        decoding += time.monotonic() - before
        columns = {**text_of(completions, tokenizer), **scores_of(model, completions, scores)}
        tables.append(pd.DataFrame(batch).assign(**columns))
        progress.update(start + len(batch), len(rows), "completions")
    return pd.concat(tables, ignore_index=True), decoding


def held_out(args: argparse.Namespace) -> list[str]:
    """The prompts to decode, `evaluation.prompts` of the file's.

    Raises:
        ValueError: if the file has fewer.
    """
    prompts = list(Dataset.from_parquet(str(args.prompts))["prompt"][: args.settings["prompts"]])
    if len(prompts) < args.settings["prompts"]:
        raise ValueError(
            f"evaluation.prompts = {args.settings['prompts']}: the test split has only {len(prompts)}"
        )
    return prompts


def save(
    args: argparse.Namespace, completions: pd.DataFrame, policies: list[dict[str, Any]]
) -> None:
    """Write completions.parquet, and sampling.json: for each policy what it cost, and what all were decoded with."""
    record = {
        "policies": policies,
        "labels": args.labels,
        "seed": args.seed,
        "settings": args.settings,
    }
    with job.atomic_path(args.output) as folder:
        folder.mkdir()
        completions.to_parquet(folder / "completions.parquet", index=False)
        job.write_json(folder / "sampling.json", {**record, "versions": provenance.versions()})


def main() -> None:
    parser = job.parser(__doc__)
    parser.add_argument("--reference", type=Path, required=True, help="folder of the reference")
    parser.add_argument(
        "--adapter", type=Path, help="folder of the adapter; none for the reference itself"
    )
    parser.add_argument(
        "--lams",
        type=lambda text: [Fraction(part) for part in text.split(",")],
        default=[],
        help="decode DeRa at these, too",
    )
    parser.add_argument(
        "--labels", type=json.loads, default={}, help="columns to add to every row, as JSON"
    )
    parser.add_argument(
        "--prompts", type=Path, required=True, help="Parquet file with a column prompt"
    )
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        help="folder for completions.parquet and sampling.json",
    )
    args = parser.parse_args()
    if args.lams and args.adapter is None:
        parser.error("--lams needs an --adapter to mix the reference with")
    settings, label = args.settings, " ".join([*map(str, args.labels.values()), "sample"])
    with job.running(label, args) as progress:
        prompts = held_out(args)
        tokenizer = AutoTokenizer.from_pretrained(args.reference)
        if args.adapter is None:
            model = AutoModelForCausalLM.from_pretrained(
                args.reference, use_safetensors=True
            ).eval()
        else:
            model = RealignedModel.from_pretrained(args.reference, args.adapter, merge_adapter=True)
        model.to(job.device())
        torch.manual_seed(args.seed)
        policies = (
            {"retrained": [None], "dera": args.lams} if args.adapter else {"reference": [None]}
        )
        tables, records = [], []
        for policy, lams in policies.items():
            if not lams:
                continue
            samples = settings["reference_samples" if policy == "reference" else "samples"]
            rows = list(rows_to_decode(len(prompts), samples, lams))
            table, seconds = decode_policy(model, tokenizer, prompts, rows, settings, progress)
            tables.append(table.assign(policy=policy, **args.labels))
            records.append(
                {
                    "policy": policy,
                    "lams": len(lams),
                    "completions": len(rows),
                    "decoding_seconds": seconds,
                }
            )
        found = pd.concat(tables, ignore_index=True)
        found["lam"] = [None if lam is None else str(lam) for lam in found["lam"]]
        save(args, found, records)


if __name__ == "__main__":
    main()
