"""`dera sweep`: completions and their log-probabilities over a range of strengths."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from dera.cli import options, plot
from dera.cli.metrics import Metric, load_metric
from dera.cli.models import check_models, load_pair, seed_batch
from dera.cli.output import note
from dera.cli.prompts import read_prompts
from dera.cli.requested import Request, requests_of
from dera.cli.rowfile import RowFile
from dera.cli.settings import settings_of
from dera.cli.values import beta_of, lams_of, number_list

if TYPE_CHECKING:
    from dera import RealignedModel

SUMMARY = "decode over a range of strengths, with log-probabilities, into a file"
DESCRIPTION = f"""\
This command samples completions at each of several strengths and scores them
under both models. It writes one JSON line for each completion. It prints a table
of length, KL to the reference and gap to the exact mixture (which is a KL too),
with 95% intervals over prompts. If a sweep is interrupted, the same command
goes on where it stopped and gives the same file. A finished sweep is only
shown again. While a sweep runs, no other can write to its file.

{options.STRENGTH}"""
EPILOG = """\
examples:
  dera sweep models/sft models/aligned --prompts prompts.jsonl --lams 0,0.25,0.5,1,2 \\
    --output sweep.jsonl
  dera sweep models/sft models/aligned --prompts prompts.txt --lams 0:2:0.25 --samples 8 \\
    --metric judge.py:score --output sweep.jsonl
  dera sweep models/sft models/aligned --prompts prompts.txt --betas 0.05,0.1,0.2 \\
    --aligned-beta 0.1 --output betas.jsonl

Each line has these fields:
  prompt_id, prompt  the number of the prompt, from 0, and its text
  lam, beta          the strength; beta is there if --aligned-beta is given
  sample             the number of the completion, from 0, among the completions
                     of this prompt and lam
  completion         the completion's text
  tokens, finished   the completion's length, and whether it ended before
                     --max-new-tokens cut it
  logp_reference, logp_aligned, logp_sampler
                     the completion's log-probability under the reference, the
                     aligned model and the realigned model, in nats
  log_weight         log of the completion's weight toward the exact mixture
  metric             the metric's value, if --metric is given
A log-probability of minus infinity is written as null. The settings are kept
in FILE.jsonl.meta.json.
"""

#: What each row has a number or a null for.
_NUMBERS = (
    "tokens",
    "logp_reference",
    "logp_aligned",
    "logp_sampler",
    "log_weight",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    options.add_models(parser)
    options.add_prompts(parser)
    strength = parser.add_mutually_exclusive_group(required=True)
    options.add_lams(strength, "Decode at these mixing weights.")
    strength.add_argument(
        "--betas",
        metavar="LIST",
        type=number_list,
        help="Decode at these KL strengths instead (needs --aligned-beta).",
    )
    options.add_decoding(parser, samples=4)
    options.add_metric(parser)
    options.add_output(parser, "FILE.jsonl", "Write the completions to this file.", required=True)
    plot.add_plot(parser)


def run(args: argparse.Namespace) -> None:
    """Decode the completions that are missing in the file, then print the table."""
    lams = lams_of(args.lams, args.betas, args.aligned_beta)
    plot.check_plot(args)
    metric = load_metric(args.metric) if args.metric else None
    check_models(args)
    prompts = read_prompts(args)
    requests = requests_of(prompts, lams, args.samples)
    settings = settings_of(args, prompts, lams)
    columns = (*_NUMBERS, "metric") if metric else _NUMBERS
    rows = RowFile(args.output, settings, requests, args.batch_size, columns)
    if rows.complete:
        note(f"{args.output} is complete already: nothing was decoded")
    else:
        _decode_missing(args, rows, requests, prompts, metric)
    from dera.cli.sweep_table import sweep_table

    found = rows.read()
    print(sweep_table(found))
    if args.plot is not None:
        _draw(found, args)


def _draw(rows: list[dict[str, Any]], args: argparse.Namespace) -> None:
    """Draw the columns of the table over lam."""
    from dera.cli.sweep_table import estimates, rows_by_lam

    of_lams = rows_by_lam(rows)
    at_lams = [estimates(of_lam) for of_lam in of_lams.values()]
    columns = {name: [at_lam[name] for at_lam in at_lams] for name in at_lams[0]}
    plot.draw_sweep(args.plot, columns, list(of_lams))


def _decode_missing(
    args: argparse.Namespace,
    rows: RowFile,
    requests: list[Request],
    prompts: list[str],
    metric: Metric | None,
) -> None:
    """Decode what is missing in the file, batch by batch."""
    if rows.done:
        note(f"going on with {rows.partial}: {rows.done} of {rows.total} completions are there")
    model, tokenizer = load_pair(args, prompts)
    rows.begin()
    with tqdm(
        total=rows.total, initial=rows.done, desc="decoding", unit="text", disable=args.quiet
    ) as bar:
        try:
            while rows.done < rows.total:
                seed_batch(args.seed, rows.done // args.batch_size)
                batch = requests[rows.done : rows.done + args.batch_size]
                rows.append(_decode(model, tokenizer, batch, args, metric))
                bar.update(len(batch))
        except (KeyboardInterrupt, OSError):
            if rows.done:
                note(
                    f"{rows.done} of {rows.total} completions are in {rows.partial}: "
                    "the same command goes on from there"
                )
            raise
    rows.finish()


def _decode(
    model: RealignedModel,
    tokenizer: Any,
    batch: list[Request],
    args: argparse.Namespace,
    metric: Metric | None,
) -> list[dict[str, Any]]:
    """Decode one batch and return its rows."""
    from dera import sample_and_score

    # Sample and score the batch, and judge the texts.
    prompts = [request.prompt for request in batch]
    lams = [request.lam for request in batch]
    drawn, scores = sample_and_score(model, tokenizer, prompts, args.max_new_tokens, lams)
    completions = tokenizer.batch_decode(drawn.token_ids(), skip_special_tokens=True)
    columns: dict[str, list[Any]] = {
        "sample": [request.sample for request in batch],
        "completion": completions,
        "tokens": drawn.lengths(),
        "finished": drawn.finished(),
        "logp_reference": _finite_or_none(scores.reference.tolist()),
        "logp_aligned": _finite_or_none(scores.aligned.tolist()),
        "logp_sampler": _finite_or_none(scores.sampler.tolist()),
        "log_weight": _finite_or_none(scores.log_weight.tolist()),
    }
    if metric is not None:
        columns["metric"] = metric(prompts, completions)

    # Put each completion's values into a row.
    rows = []
    for position, request in enumerate(batch):
        row: dict[str, Any] = {
            "prompt_id": request.prompt_id,
            "prompt": request.prompt,
            "lam": request.lam,
        }
        if args.aligned_beta is not None:
            row["beta"] = beta_of(request.lam, args.aligned_beta)
        row |= {name: column[position] for name, column in columns.items()}
        rows.append(row)
    return rows


def _finite_or_none(values: list[float]) -> list[float | None]:
    """Replace what JSON does not have, minus infinity, by None."""
    return [value if math.isfinite(value) else None for value in values]
