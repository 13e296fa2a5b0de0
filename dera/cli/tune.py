"""`dera tune`: the lam that is best for a metric."""

from __future__ import annotations

import argparse
from typing import Any

from dera.cli import options, plot
from dera.cli.metrics import Metric, load_metric
from dera.cli.models import check_models, load_pair
from dera.cli.prompts import read_prompts
from dera.cli.requested import check_total
from dera.cli.resultfile import ResultFile
from dera.cli.resumed import Outcome, run_or_resume
from dera.cli.values import MAX_COUNT, lam_list, number

SUMMARY = "find the strength that is best for a metric of yours"
DESCRIPTION = f"""\
This command finds the lam with the highest mean of a metric. It can keep to a
limit on the KL to the reference (--max-kl). Completions are sampled at a few
lams, the sampled lams, and reweighted to all others. Where they do not suffice,
further lams are sampled. The command prints the metric at every lam with its 95%
band over prompts and the effective share of the samples (ESS). It also prints
the choice, how sure it is, and the strength worth retraining at. With
--output, a command that was interrupted goes on where it stopped.

{options.STRENGTH}"""
EPILOG = """\
examples:
  dera tune models/sft models/aligned --prompts prompts.txt --metric judge.py:score
  dera tune models/sft models/aligned --prompts prompts.jsonl --metric judge.py:score \\
    --max-kl 5 --held-out 0.3 --output tuning.json
  dera tune models/sft models/aligned --prompts prompts.txt --metric judges.length:score \\
    --lams 0:3:0.25 --aligned-beta 0.1

judge.py may be as short as this:
  def score(prompts, completions):
      return [-abs(len(completion.split()) - 20) for completion in completions]
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    options.add_models(parser)
    options.add_prompts(parser)
    options.add_metric(parser, required=True)
    parser.add_argument(
        "--max-kl",
        metavar="NATS",
        type=number(float, 0),
        help="Allow at most this KL to the reference, in nats a completion (default: any).",
    )
    parser.add_argument(
        "--held-out",
        metavar="SHARE",
        type=number(float, 0),
        default=0.0,
        help="Keep this share of the prompts out of the choice, and confirm the choice on them "
        "(default 0).",
    )
    options.add_lams(parser, "Choose among these mixing weights (default 0:2:0.1).")
    parser.add_argument(
        "--sampled-lams",
        metavar="LIST",
        type=lam_list,
        help="Sample at these mixing weights first (default 0,0.3,0.8,2).",
    )
    parser.add_argument(
        "--max-sampled-lams",
        metavar="N",
        type=number(int, 1, MAX_COUNT),
        default=8,
        help="Sample at no more than N mixing weights in all (default 8).",
    )
    options.add_decoding(parser, samples=4)
    options.add_output(parser, "FILE.json", "Write the result to this file too.")
    plot.add_plot(parser)


def run(args: argparse.Namespace) -> None:
    """Tune, and print or write the result."""
    # Check what can be checked without a model.
    plot.check_plot(args)
    metric = load_metric(args.metric)
    check_models(args)
    prompts = read_prompts(args)
    options.check_enough(args, prompts)
    check_total(len(prompts), args.max_sampled_lams, args.samples)
    from dera.curve.tuning import split

    split(prompts, args.held_out)  # refuses a bad share before a model is loaded
    result = run_or_resume(args, prompts, lambda record: _tuned(args, prompts, metric, record))
    if args.plot is not None:
        plot.draw_tuning(args.plot, result)


def _tuned(
    args: argparse.Namespace, prompts: list[str], metric: Metric, record: ResultFile | None
) -> Outcome:
    """Choose lam, and say what casts doubt on the choice."""
    import dera
    from dera.cli.tuning_report import as_json, choice_text, tuning_table

    model, tokenizer = load_pair(args, prompts)
    if record is not None:
        record.begin()
    tuning = dera.tune(
        model,
        tokenizer,
        prompts,
        metric,
        args.max_new_tokens,
        max_kl=args.max_kl,
        held_out=args.held_out,
        samples=args.samples,
        max_sampled_lams=args.max_sampled_lams,
        batch_size=args.batch_size,
        seed=args.seed,
        progress=not args.quiet,
        record=record,
        **_given(args, "lams", "sampled_lams"),
    )
    text = f"{tuning_table(tuning)}\n{choice_text(tuning, args.aligned_beta is not None)}"
    notes = [f"warning: {warning}" for warning in tuning.warnings]
    return Outcome(as_json(tuning, args.max_kl), text, notes)


def _given(args: argparse.Namespace, *names: str) -> dict[str, Any]:
    """Return those of the named arguments that were given, by name."""
    values = {name: getattr(args, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}
