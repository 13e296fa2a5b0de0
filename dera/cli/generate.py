"""`dera generate`: completions at one or several strengths."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from dera.cli import distribution, options
from dera.cli.models import check_models, load_pair, seed_batch
from dera.cli.output import check_output, json_lines, write_atomically
from dera.cli.prompts import read_prompts
from dera.cli.values import beta_of, lams_of, number_list

if TYPE_CHECKING:
    from dera import RealignedModel

SUMMARY = "print completions at one or several strengths"
DESCRIPTION = f"""\
Continue prompts with the realigned model. By default completions are sampled
from its own distribution (temperature 1, nothing cut off) and printed; with
--output they are written as JSON lines instead.

{options.STRENGTH}"""
EPILOG = """\
examples:
  dera generate models/sft models/aligned "How do I boil an egg?" --lam 0.5
  dera generate models/sft models/aligned --prompts prompts.txt --lam 0 0.5 1 2 --samples 2 --output completions.jsonl
  dera generate models/sft models/aligned --chat --beta 0.2 --aligned-beta 0.1 --greedy "How do I boil an egg?"
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of this command."""
    options.add_models(parser)
    options.add_prompts(parser)
    strength = parser.add_mutually_exclusive_group(required=True)
    strength.add_argument(
        "--lam",
        metavar="LAM",
        dest="lams",
        type=number_list,
        help="mixing weight, one or several: 0 0.5 1",
    )
    strength.add_argument(
        "--beta",
        metavar="BETA",
        dest="betas",
        type=number_list,
        help="KL strength instead, with --aligned-beta",
    )
    options.add_decoding(parser, samples=1)
    distribution.add_distribution(parser)
    parser.add_argument(
        "--speculative",
        action="store_true",
        help="one model drafts, the other verifies: the same distribution in fewer passes, where REFERENCE and ALIGNED are two models",
    )
    options.add_output(
        parser, "FILE.jsonl", "write JSON lines here (replacing the file) instead of printing"
    )


def run(args: argparse.Namespace) -> None:
    """Decode every prompt at every lam."""
    distribution.check_distribution(args)
    lams = lams_of(args.lams, args.betas, args.aligned_beta)
    check_output(args.output)
    check_models(args)
    prompts = read_prompts(args)
    model, tokenizer = load_pair(args, prompts)
    plan = [
        (p, lam, sample)
        for p in range(len(prompts))
        for lam in lams
        for sample in range(args.samples)
    ]
    from dera.decoding import end_tokens

    ends = end_tokens(model, tokenizer)
    model.generation_config = distribution.generation_config(
        model, args, ends, tokenizer.pad_token_id
    )
    size = max(1, args.batch_size // (args.exact or 1))
    rows: list[dict[str, Any]] = []
    with tqdm(total=len(plan), desc="decoding", unit="text", disable=args.quiet) as bar:
        for batch, start in enumerate(range(0, len(plan), size)):
            todo = plan[start : start + size]
            seed_batch(args.seed, batch)
            texts = [prompts[p] for p, *_ in todo]
            drawn = _decode(model, tokenizer, texts, [lam for _, lam, _ in todo], args)
            for (p, lam, sample), ids in zip(todo, drawn, strict=True):
                row = {
                    "prompt_id": p,
                    "prompt": prompts[p],
                    "lam": lam,
                    "beta": beta_of(lam, args.aligned_beta),
                    "sample": sample,
                }
                rows.append({**row, **_described(ids, tokenizer, ends)})
            if args.output is None:
                with tqdm.external_write_mode(file=sys.stdout):
                    _show(rows[start:], rows[start - 1] if start else None)
            bar.update(len(todo))
    if args.output is not None:
        write_atomically(Path(args.output), json_lines(rows))


def _decode(
    model: RealignedModel,
    tokenizer: Any,
    prompts: list[str],
    lams: list[float],
    args: argparse.Namespace,
) -> list[list[int]]:
    """Token ids of one completion a row."""
    import torch

    from dera import sample_mixture
    from dera.decoding import batch_of

    weights = torch.tensor(lams)
    if args.exact:
        found = sample_mixture(
            model, tokenizer, prompts, args.max_new_tokens, weights, particles=args.exact
        )
        return found.completions.input_ids[
            found.pick(), -found.completions.completion_length :
        ].tolist()
    batch = batch_of(model, tokenizer, prompts)
    ids = model.generate(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        lam=weights,
        speculative=args.speculative,
    )
    return ids[:, 1 if model.config.is_encoder_decoder else batch.input_ids.shape[1] :].tolist()


def _described(ids: list[int], tokenizer: Any, ends: tuple[int, ...]) -> dict[str, Any]:
    """Text and length of a completion, its end of sequence counted; what follows is padding."""
    length = next((i + 1 for i, token in enumerate(ids) if token in ends), None)
    text = tokenizer.decode(ids[:length], skip_special_tokens=True)
    return {"completion": text, "tokens": length or len(ids), "finished": length is not None}


def _show(rows: Sequence[dict[str, Any]], previous: dict[str, Any] | None) -> None:
    for row in rows:
        if previous is None or previous["prompt_id"] != row["prompt_id"]:
            print(f"=== prompt {row['prompt_id'] + 1}: {row['prompt']}")
        strength = f"lam {row['lam']:g}" + (
            f", beta {row['beta']:g}" if row["beta"] is not None else ""
        )
        print(f"--- {strength}{'' if row['finished'] else ' (cut)'}\n{row['completion']}")
        previous = row
