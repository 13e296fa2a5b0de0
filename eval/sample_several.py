"""Decode two aligned models together, DeRa over several rewards, at pairs of mixing weights, on the held-out prompts.

A row a completion goes to the output, as eval.sample writes it, with `policy` "several_rewards" and the pair in the column `lams`; its log importance
weight is toward the exact mixture `pi_ref * prod_i (pi_i / pi_ref)^lam_i`.

Settings: the config's `evaluation` section, and `max_new_tokens`.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from transformers import AutoTokenizer

from dera.decoding import Completions, sample_completions
from dera.mixing import mix_logits
from dera.model.realigned import RealignedModel
from eval.sample import held_out, save, text_of
from study import job

SCORES = ("logp_policy", "logp_reference", "log_weight")


def sample_and_score(
    model: RealignedModel, tokenizer: Any, prompts: list[str], max_new_tokens: int, lam: Tensor
) -> tuple[Completions, Tensor]:
    """One completion a prompt, and its scores as SCORES names them, float64 of shape (3, batch), in nats.

    Args:
        lam: shape (batch, aligned models).
    """
    totals = torch.zeros(len(SCORES), len(prompts), dtype=torch.double)

    def add(rows: Tensor, output: Any, tokens: Tensor) -> None:
        logits = (output.reference_logits, *output.aligned_logits)
        reference, *aligned = (part[:, -1].float().log_softmax(-1) for part in logits)
        mixed = mix_logits(reference, aligned, lam[rows.to(lam.device)])
        log_z = mixed.logsumexp(-1)  # log Z_t, because all parts are normalised
        policy, under_reference = (
            part.gather(-1, tokens[:, None])[:, 0] for part in (mixed, reference)
        )
        totals[:, rows.cpu()] += (
            torch.stack([policy - log_z, under_reference, log_z]).double().cpu()
        )

    return sample_completions(
        model, tokenizer, prompts, max_new_tokens, lam=lam, on_step=add
    ), totals


def decode(
    model: RealignedModel,
    tokenizer: Any,
    prompts: list[str],
    rows: pd.DataFrame,
    settings: dict[str, Any],
    progress: job.Progress,
) -> tuple[pd.DataFrame, float]:
    """Every row sampled and scored, and the seconds that took; `lams` of a row is its pair, written "0.75,0.25"."""
    seconds, tables = 0.0, []
    for start in range(0, len(rows), settings["batch_size"]):
        batch = rows[start : start + settings["batch_size"]]
        texts = [prompts[prompt_id] for prompt_id in batch["prompt_id"]]
        lam = torch.tensor(
            [[float(weight) for weight in pair.split(",")] for pair in batch["lams"]]
        )
        before = time.monotonic()
        completions, scores = sample_and_score(
            model, tokenizer, texts, settings["max_new_tokens"], lam
        )
        seconds += time.monotonic() - before
        columns = {
            **text_of(completions, tokenizer),
            **dict(zip(SCORES, scores.tolist(), strict=True)),
        }
        tables.append(batch.assign(**columns))
        progress.update(start + len(batch), len(rows), "completions")
    return pd.concat(tables, ignore_index=True), seconds


def main() -> None:
    parser = job.parser(__doc__)
    parser.add_argument("--reference", type=Path, required=True, help="folder of the reference")
    parser.add_argument(
        "--adapters",
        type=Path,
        nargs=2,
        required=True,
        help="folders of the adapters, in the order of the weights",
    )
    parser.add_argument(
        "--lams",
        type=json.loads,
        required=True,
        help='pairs of mixing weights, as JSON: [["0.75", "0.25"], ...]',
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
    settings = args.settings
    with job.running(
        " ".join([*map(str, args.labels.values()), "sample several"]), args
    ) as progress:
        prompts = held_out(args)
        tokenizer = AutoTokenizer.from_pretrained(args.reference)
        aligned = dict(zip(("first", "second"), args.adapters, strict=True))
        model = RealignedModel.from_pretrained(args.reference, aligned, merge_adapter=True)
        model.to(job.device())
        torch.manual_seed(args.seed)
        pairs, samples = [",".join(pair) for pair in args.lams], range(settings["samples"])
        # prompt by prompt, so that a batch holds like prompts and many lam
        keys = pd.MultiIndex.from_product(
            [range(len(prompts)), pairs, samples], names=["prompt_id", "lams", "sample_id"]
        )
        table, seconds = decode(
            model, tokenizer, prompts, keys.to_frame(index=False), settings, progress
        )
        records = [
            {
                "policy": "several_rewards",
                "lams": len(pairs),
                "completions": len(table),
                "decoding_seconds": seconds,
            }
        ]
        save(args, table.assign(policy="several_rewards", lam=None, **args.labels), records)


if __name__ == "__main__":
    main()
