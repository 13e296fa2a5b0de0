"""Decode one policy, or the whole lam grid of one anchor, on the held-out prompts.

Policies: `reference` (no adapter), `retrained` (an adapter alone) and `dera` (an adapter as the anchor, at every lam of
`--lams`). A row a completion goes to the output, with log-probabilities under the policy, the reference and the adapter.

Settings: the config's `evaluation` section.
"""

from __future__ import annotations

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
from dera.model import RealignedModel
from dera.scoring import SequenceScores, log_probabilities, sample_and_score, score_completions
from study import job, provenance


def rows_to_decode(prompts: int, samples: int, lams: list[Fraction | None]) -> Iterator[dict[str, Any]]:
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
    return {"completion": tokenizer.batch_decode(ids), "token_ids": ids, "finished": completions.finished()}


def scores_of(model: Any, completions: Completions, scores: SequenceScores | None) -> dict[str, list]:
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


def main() -> None:
    parser = job.parser(__doc__)
    parser.add_argument("policy", choices=["reference", "retrained", "dera"])
    parser.add_argument("--reference", type=Path, required=True, help="folder of the reference")
    parser.add_argument("--adapter", type=Path, help="folder of the adapter; not for the reference")
    parser.add_argument("--lams", type=lambda text: [Fraction(part) for part in text.split(",")], default=[None])
    parser.add_argument("--labels", type=json.loads, default={}, help="columns to add to every row, as JSON")
    parser.add_argument("--prompts", type=Path, required=True, help="Parquet file with a column prompt")
    parser.add_argument("--output", type=Path, required=True, help="folder for completions.parquet and sampling.json")
    args = parser.parse_args()
    if (args.policy == "reference") != (args.adapter is None):
        parser.error("--adapter is needed for retrained and dera, and has no meaning for reference")
    if (args.policy == "dera") != (args.lams != [None]):
        parser.error("--lams is needed for dera, and has no meaning for the other policies")
    settings, label = args.settings, " ".join(["sample", args.policy, *map(str, args.labels.values())])
    with job.running(label, args) as progress:
        prompts = Dataset.from_parquet(str(args.prompts))["prompt"][: settings["prompts"]]
        if len(prompts) < settings["prompts"]:
            raise ValueError(f"evaluation.prompts = {settings['prompts']}: the test split has only {len(prompts)}")
        tokenizer = AutoTokenizer.from_pretrained(args.reference)
        if args.adapter is None:
            model = AutoModelForCausalLM.from_pretrained(args.reference, use_safetensors=True).eval()
        else:
            model = RealignedModel.from_pretrained(args.reference, args.adapter, merge_adapter=True)
        model.to(job.device())
        samples = settings["reference_samples" if args.policy == "reference" else "samples"]
        rows = list(rows_to_decode(len(prompts), samples, args.lams))
        torch.manual_seed(args.seed)
        started, decoding, tables = time.monotonic(), 0.0, []
        for start in range(0, len(rows), settings["batch_size"]):
            batch = rows[start : start + settings["batch_size"]]
            texts = [prompts[row["prompt_id"]] for row in batch]
            lams = [row["lam"] for row in batch]
            before = time.monotonic()
            completions, scores = decode(model, tokenizer, texts, lams, settings["max_new_tokens"])
            decoding += time.monotonic() - before
            columns = {**text_of(completions, tokenizer), **scores_of(model, completions, scores)}
            tables.append(pd.DataFrame(batch).assign(**columns))
            progress.update(start + len(batch), len(rows), "completions")
        table = pd.concat(tables, ignore_index=True).assign(policy=args.policy, **args.labels)
        table["lam"] = [None if lam is None else str(lam) for lam in table["lam"]]
        record = {
            "policy": args.policy,
            "labels": args.labels,
            "lams": len(args.lams),
            "completions": len(table),
            "seconds": time.monotonic() - started,
            "decoding_seconds": decoding,
            "seed": args.seed,
        }
        with job.atomic_path(args.output) as folder:
            folder.mkdir()
            table.to_parquet(folder / "completions.parquet", index=False)
            job.write_json(folder / "sampling.json", {**record, "settings": settings, "versions": provenance.versions()})


if __name__ == "__main__":
    main()
