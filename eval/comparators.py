"""Decode DeRa's baselines, other policies made of a reference and one aligned model without training, on the held-out prompts.

`weights`: one model between the two, or beyond the aligned one: model soups and WiSE-FT (Wortsman et al. 2022), task arithmetic (Ilharco
et al. 2023), ExPO (Zheng et al. 2024). `probabilities`: the arithmetic mean of the next-token probabilities. `temperature`: the aligned
model alone, its logits divided. `top-k`: DeRa among the reference's k most probable tokens (contrastive decoding's constraint, Li et al. 2023).

A row a completion, with the columns of eval.sample's, the policy `baseline`, its `method` and its `knob`. `logp_aligned` is missing for
`weights`, which puts another model in the aligned one's place. The seconds recorded are those of running both models, though `weights` and
`temperature` need the second for nothing but log-probabilities.

Settings: the config's `evaluation` section, `max_new_tokens`, and the section `baselines`.
"""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from transformers import AutoTokenizer

from dera.decoding import Completions, sample_completions
from dera.model.realigned import RealignedModel
from eval.combining import Combined, baselines
from eval.sample import held_out, rows_to_decode, save, text_of
from study import job

SCORES = ("logp_policy", "logp_reference", "logp_aligned")


def decode(
    policy: Combined, tokenizer: Any, prompts: list[str], room: int
) -> tuple[Completions, Tensor]:
    """Sample one batch; with log-probabilities under the policy, the reference and the aligned model, float64 of shape (3, rows)."""
    totals = torch.zeros(len(SCORES), len(prompts), dtype=torch.double)

    def add(rows: Tensor, output: Any, tokens: Tensor) -> None:
        logits = torch.stack(
            [
                part[:, -1].float()
                for part in (output.logits, output.reference_logits, output.aligned_logits)
            ]
        )
        chosen = logits.log_softmax(-1).gather(-1, tokens.expand(len(SCORES), -1)[..., None])[
            ..., 0
        ]
        totals[:, rows.cpu()] += chosen.double().cpu()

    return sample_completions(policy, tokenizer, prompts, room, on_step=add), totals


def decode_policy(
    policy: Combined,
    tokenizer: Any,
    prompts: list[str],
    rows: list[dict[str, Any]],
    settings: dict[str, Any],
) -> tuple[pd.DataFrame, float]:
    """Every row sampled and scored, and the seconds that took."""
    decoding, tables = 0.0, []
    for start in range(0, len(rows), settings["batch_size"]):
        batch = rows[start : start + settings["batch_size"]]
        before = time.monotonic()
        completions, scores = decode(
            policy,
            tokenizer,
            [prompts[row["prompt_id"]] for row in batch],
            settings["max_new_tokens"],
        )
        decoding += time.monotonic() - before
        columns = {
            **text_of(completions, tokenizer),
            **dict(zip(SCORES, scores.tolist(), strict=True)),
        }
        tables.append(pd.DataFrame(batch).assign(**columns))
    return pd.concat(tables, ignore_index=True), decoding


def main() -> None:
    parser = job.parser(__doc__)
    parser.add_argument("--reference", type=Path, required=True, help="folder of the reference")
    parser.add_argument("--adapter", type=Path, required=True, help="folder of the adapter")
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
    settings, label = args.settings, " ".join([*map(str, args.labels.values()), "baselines"])
    with job.running(label, args) as progress:
        prompts = held_out(args)
        tokenizer = AutoTokenizer.from_pretrained(args.reference)
        pair = RealignedModel.from_pretrained(args.reference, args.adapter, merge_adapter=True)
        pair.to(job.device())
        torch.manual_seed(args.seed)
        rows = list(rows_to_decode(len(prompts), settings["samples"], [None]))
        knobs = [
            values["lams"] if name == "top_k" else values
            for name, values in settings["baselines"].items()
        ]
        tables, records, total = [], [], sum(map(len, knobs))
        for method, knob, policy in baselines(pair, settings["baselines"]):
            table, seconds = decode_policy(policy, tokenizer, prompts, rows, settings)
            names = {"method": method, "knob": str(knob)}
            # the pair's second model is then another than the aligned one
            tables.append(
                table.assign(**names, **({"logp_aligned": math.nan} if method == "weights" else {}))
            )
            records.append({**names, "completions": len(rows), "decoding_seconds": seconds})
            progress.update(len(tables), total, "policies")
        found = pd.concat(tables, ignore_index=True).assign(policy="baseline", **args.labels)
        save(args, found, records)


if __name__ == "__main__":
    main()
