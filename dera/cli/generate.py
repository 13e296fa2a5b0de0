"""`dera generate`: completions at one strength or more."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from dera.cli import distribution, options
from dera.cli.models import check_models, load_pair, seed_batch
from dera.cli.output import json_lines, write_atomically
from dera.cli.prompts import last_words, read_prompts
from dera.cli.requested import Request, requests_of
from dera.cli.values import beta_of, lam_list, lams_of, number_list

if TYPE_CHECKING:
    from dera import RealignedModel

SUMMARY = "print completions at one strength or more"
DESCRIPTION = f"""\
This command continues prompts with the realigned model. By default completions
are sampled from its own distribution (temperature 1, nothing cut off), unless
the aligned model was saved with generation settings: these apply as in Python,
and the command says which. Completions are printed. With --output they are
written as JSON lines instead.

{options.STRENGTH}"""
EPILOG = """\
examples:
  dera generate models/sft models/aligned "How do I boil an egg?" --lam 0.5
  dera generate models/sft models/aligned --prompts prompts.txt --lam 0 0.5 1 2 \\
    --samples 2 --output completions.jsonl
  dera generate models/sft models/aligned --chat --beta 0.2 --aligned-beta 0.1 \\
    --greedy "How do I boil an egg?"
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    options.add_models(parser)
    options.add_prompts(parser)
    strength = parser.add_mutually_exclusive_group(required=True)
    strength.add_argument(
        "--lam",
        metavar="LAM",
        dest="lams",
        type=lam_list,
        help="Decode at this mixing weight, or at more than one, for example 0 0.5 1.",
    )
    strength.add_argument(
        "--beta",
        metavar="BETA",
        dest="betas",
        type=number_list,
        help="Decode at this KL strength instead, or at more than one (needs --aligned-beta).",
    )
    options.add_decoding(parser, samples=1)
    distribution.add_distribution(parser)
    parser.add_argument(
        "--speculative",
        action="store_true",
        help="Let one model draft tokens and the other model verify them. The distribution is the "
        "same. If ALIGNED is a whole model and not an adapter, fewer model passes are needed.",
    )
    options.add_compiled(parser)
    options.add_output(
        parser,
        "FILE.jsonl",
        "Write JSON lines to this file, replacing it, instead of printing the completions.",
    )


def run(args: argparse.Namespace) -> None:
    """Decode every prompt at every lam, and print the completions or write them to a file."""
    distribution.check_distribution(args)
    lams = lams_of(args.lams, args.betas, args.aligned_beta)
    check_models(args)
    prompts = read_prompts(args)
    requests = requests_of(prompts, lams, args.samples)
    model, tokenizer = load_pair(args, prompts)

    rows: list[dict[str, Any]] = []
    for batch_rows in _rows_by_batch(model, tokenizer, requests, args):
        if args.output is None:
            # The progress bar steps aside while rows are printed.
            with tqdm.external_write_mode(file=sys.stdout):
                _print_rows(batch_rows, previous=rows[-1] if rows else None)
        rows += batch_rows
    if args.output is not None:
        write_atomically(args.output, json_lines(rows))


def _rows_by_batch(
    model: RealignedModel, tokenizer: Any, requests: list[Request], args: argparse.Namespace
) -> Iterator[list[dict[str, Any]]]:
    """Decode batch by batch, and yield each batch's rows."""
    from dera.decoding import end_tokens

    ends = end_tokens(model, tokenizer)
    said = distribution.said_of_checkpoint(model, args)
    if said is not None:
        print(f"dera generate: {said}", file=sys.stderr)
    model.generation_config = distribution.generation_config(
        model, args, ends, tokenizer.pad_token_id
    )
    # The particles of --exact are rows of the batch too.
    size = max(1, args.batch_size // (args.exact or 1))
    with tqdm(total=len(requests), desc="decoding", unit="text", disable=args.quiet) as bar:
        for batch_number, start in enumerate(range(0, len(requests), size)):
            batch = requests[start : start + size]
            seed_batch(args.seed, batch_number)
            completions = _decode(model, tokenizer, batch, args)
            yield [
                _row(request, token_ids, tokenizer, ends, args.aligned_beta)
                for request, token_ids in zip(batch, completions, strict=True)
            ]
            bar.update(len(batch))


def _decode(
    model: RealignedModel, tokenizer: Any, batch: list[Request], args: argparse.Namespace
) -> list[list[int]]:
    """Return the token ids of each requested completion, with padding after its end."""
    import torch

    from dera import sample_mixture
    from dera.decoding import batch_of

    prompts = [request.prompt for request in batch]
    lams = torch.tensor([request.lam for request in batch])
    if args.exact:
        particles = sample_mixture(
            model, tokenizer, prompts, args.max_new_tokens, lams, particles=args.exact
        )
        completions = particles.completions
        return completions.input_ids[particles.pick(), -completions.completion_length :].tolist()
    inputs = batch_of(model, tokenizer, prompts)
    ids = model.generate(
        input_ids=inputs.input_ids,
        attention_mask=inputs.attention_mask,
        lam=lams,
        speculative=args.speculative,
        compiled=args.compiled,
        # Only stop strings, which a checkpoint may name, need the tokenizer.
        tokenizer=tokenizer if model.generation_config.stop_strings else None,
    )
    # An encoder-decoder's output begins with its start token, a decoder's with the prompt.
    start = 1 if model.config.is_encoder_decoder else inputs.input_ids.shape[1]
    return ids[:, start:].tolist()


def _row(
    request: Request,
    token_ids: list[int],
    tokenizer: Any,
    ends: tuple[int, ...],
    aligned_beta: float | None,
) -> dict[str, Any]:
    """Return the row of a completion. The tokens after its end of sequence are padding."""
    end_positions = [position for position, token in enumerate(token_ids) if token in ends]
    finished = bool(end_positions)
    tokens = end_positions[0] + 1 if finished else len(token_ids)
    return {
        "prompt_id": request.prompt_id,
        "prompt": request.prompt,
        "lam": request.lam,
        "beta": beta_of(request.lam, aligned_beta),
        "sample": request.sample,
        "completion": tokenizer.decode(token_ids[:tokens], skip_special_tokens=True),
        "tokens": tokens,
        "finished": finished,
    }


def _print_rows(rows: Sequence[dict[str, Any]], previous: dict[str, Any] | None) -> None:
    """Print completions, under a line for each prompt; `previous` is the last row printed."""
    for row in rows:
        if previous is None or previous["prompt_id"] != row["prompt_id"]:
            print(f"=== prompt {row['prompt_id'] + 1}: {last_words(row['prompt'])}")
        beta = "" if row["beta"] is None else f", beta {row['beta']:g}"
        cut = "" if row["finished"] else " (cut)"
        print(f"--- lam {row['lam']:g}{beta}{cut}\n{row['completion']}")
        previous = row
