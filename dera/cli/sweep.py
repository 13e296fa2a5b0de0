"""`dera sweep`: completions and their log-probabilities over a range of strengths, resumed when interrupted."""

from __future__ import annotations

import argparse
import hashlib
import json
import math
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from dera.cli import options
from dera.cli.metrics import Metric, load_metric, metric_identity
from dera.cli.models import check_models, device_of, identity, load_pair, seed_batch
from dera.cli.output import check_output, note
from dera.cli.prompts import read_prompts
from dera.cli.rowfile import RowFile
from dera.cli.values import beta_of, lams_of, number_list

if TYPE_CHECKING:
    from dera import RealignedModel

SUMMARY = "decode over a range of strengths, with log-probabilities, into a file"
DESCRIPTION = f"""\
Sample completions at each of several strengths, score them under both models,
write one JSON line a completion, and print a table of length, KL to the
reference and gap to the exact mixture (a KL too), with 95% intervals over
prompts. An interrupted sweep goes on where it stopped when the same command is
run again, and gives the same file; a finished one is only shown.

{options.STRENGTH}"""
EPILOG = """\
examples:
  dera sweep models/sft models/aligned --prompts prompts.jsonl --lams 0,0.25,0.5,1,2 --output sweep.jsonl
  dera sweep models/sft models/aligned --prompts prompts.txt --lams 0:2:0.25 --samples 8 --metric judge.py:score --output sweep.jsonl
  dera sweep models/sft models/aligned --prompts prompts.txt --betas 0.05,0.1,0.2 --aligned-beta 0.1 --output betas.jsonl

each line has prompt_id, prompt, lam, beta (where --aligned-beta is given),
sample, completion, tokens, finished (it ended by itself within --max-new-tokens),
logp_reference, logp_aligned, logp_sampler (nats, whole completion), log_weight
(toward the exact mixture), and metric if one was given. A log-probability of
minus infinity is null. The settings are kept in FILE.jsonl.meta.json.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of this command."""
    options.add_models(parser)
    options.add_prompts(parser)
    strength = parser.add_mutually_exclusive_group(required=True)
    options.add_lams(strength)
    strength.add_argument(
        "--betas",
        metavar="LIST",
        type=number_list,
        help="KL strengths instead, with --aligned-beta",
    )
    options.add_decoding(parser, samples=4)
    options.add_metric(parser)
    options.add_output(parser, "FILE.jsonl", "where the completions go", required=True)


def run(args: argparse.Namespace) -> None:
    """Decode what is missing, then show the table."""
    lams = lams_of(args.lams, args.betas, args.aligned_beta)
    check_output(args.output)
    metric = load_metric(args.metric) if args.metric else None
    check_models(args)
    prompts = read_prompts(args)
    plan = [
        (p, lam, sample)
        for p in range(len(prompts))
        for lam in lams
        for sample in range(args.samples)
    ]
    rows = RowFile(args.output, _settings(args, lams, prompts), len(plan), args.batch_size)
    if rows.complete:
        note(f"{args.output} is complete already: nothing was decoded")
    else:
        _decode_missing(args, rows, plan, prompts, metric)
    from dera.cli.sweep_table import sweep_table

    print(sweep_table(rows.read()))


def _settings(
    args: argparse.Namespace, lams: tuple[float, ...], prompts: list[str]
) -> dict[str, Any]:
    """All that the rows depend on; the batch size too, because a batch is drawn from one seed."""
    import torch
    import transformers

    import dera

    same = (
        "aligned_beta",
        "adapter_merge",
        "dtype",
        "chat",
        "system",
        "samples",
        "max_new_tokens",
        "batch_size",
        "seed",
    )
    return {
        "reference": identity(args.reference),
        "aligned": identity(args.aligned),
        "lams": lams,
        "prompts": f"{len(prompts)} prompts {hashlib.sha256(json.dumps(prompts).encode()).hexdigest()[:16]}",
        "metric": metric_identity(args.metric) if args.metric else None,
        "device": device_of(args),
        "versions": {
            "dera": dera.__version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
        **{name: getattr(args, name) for name in same},
    }


def _decode_missing(
    args: argparse.Namespace,
    rows: RowFile,
    plan: list[tuple[int, float, int]],
    prompts: list[str],
    metric: Metric | None,
) -> None:
    if rows.done:
        note(f"going on with {rows.partial}: {rows.done} of {rows.total} completions are there")
    model, tokenizer = load_pair(args, prompts)
    with tqdm(
        total=rows.total, initial=rows.done, desc="decoding", unit="text", disable=args.quiet
    ) as bar:
        try:
            while rows.done < rows.total:
                seed_batch(args.seed, rows.done // args.batch_size)
                batch = plan[rows.done : rows.done + args.batch_size]
                rows.append(_decode(model, tokenizer, prompts, batch, args, metric))
                bar.update(len(batch))
        except KeyboardInterrupt:
            note(
                f"{rows.done} of {rows.total} completions are in {rows.partial}: the same command goes on from there"
            )
            raise
    rows.finish()


def _decode(
    model: RealignedModel,
    tokenizer: Any,
    prompts: list[str],
    batch: list[tuple[int, float, int]],
    args: argparse.Namespace,
    metric: Metric | None,
) -> list[dict[str, Any]]:
    """The rows of one batch."""
    from dera import sample_and_score

    texts = [prompts[p] for p, *_ in batch]
    drawn, scores = sample_and_score(
        model, tokenizer, texts, args.max_new_tokens, [lam for _, lam, _ in batch]
    )
    completions = tokenizer.batch_decode(drawn.token_ids(), skip_special_tokens=True)
    lengths, finished = drawn.lengths(), drawn.finished()
    logs = {
        "logp_reference": scores.reference.tolist(),
        "logp_aligned": scores.aligned.tolist(),
        "logp_sampler": scores.sampler.tolist(),
        "log_weight": scores.log_weight.tolist(),
    }
    judged = metric(texts, completions) if metric else None
    rows = []
    for i, (p, lam, sample) in enumerate(batch):
        row: dict[str, Any] = {"prompt_id": p, "prompt": prompts[p], "lam": lam}
        if args.aligned_beta is not None:
            row["beta"] = beta_of(lam, args.aligned_beta)
        row.update(
            sample=sample, completion=completions[i], tokens=lengths[i], finished=finished[i]
        )
        row.update(
            {name: values[i] if math.isfinite(values[i]) else None for name, values in logs.items()}
        )
        rows.append(row if judged is None else {**row, "metric": judged[i]})
    return rows
