"""`dera tune`: the lam that is best for a metric."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

import numpy as np

from dera.cli import options
from dera.cli.metrics import load_metric
from dera.cli.models import check_models, load_pair
from dera.cli.output import check_output, interval, note, table, write_json
from dera.cli.prompts import read_prompts
from dera.cli.values import number, number_list

if TYPE_CHECKING:
    from dera import Tuning

SUMMARY = "find the strength that is best for a metric of yours"
DESCRIPTION = f"""\
Find the lam with the highest mean of a metric, perhaps under a limit on the KL
to the reference. Completions are sampled at a few lam (the anchors) and
reweighted to all others; where they do not suffice, further anchors are
sampled. Printed are the metric at every lam with its 95% band over prompts, the
effective share of the samples (ESS), the choice and how sure it is, and the
strength worth retraining at.

{options.STRENGTH}"""
EPILOG = """\
examples:
  dera tune models/sft models/aligned --prompts prompts.txt --metric judge.py:score
  dera tune models/sft models/aligned --prompts prompts.jsonl --metric judge.py:score --max-kl 5 --held-out 0.3 --output tuning.json
  dera tune models/sft models/aligned --prompts prompts.txt --metric judges.length:score --lams 0:3:0.25 --aligned-beta 0.1

judge.py may be as short as this:
  def score(prompts, completions):
      return [-abs(len(completion.split()) - 20) for completion in completions]
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of this command."""
    options.add_models(parser)
    options.add_prompts(parser)
    options.add_metric(parser, required=True)
    parser.add_argument(
        "--max-kl",
        metavar="NATS",
        type=number(float, 0),
        help="largest KL to the reference allowed, a completion (default none)",
    )
    parser.add_argument(
        "--held-out",
        metavar="SHARE",
        type=number(float, 0),
        default=0.0,
        help="so much of the prompts confirms the choice instead",
    )
    options.add_lams(parser, said=" (default 0:2:0.1)")
    parser.add_argument(
        "--sampled-lams",
        metavar="LIST",
        type=number_list,
        help="where to sample first (default 0,0.3,0.8,2)",
    )
    parser.add_argument(
        "--max-sampled-lams",
        metavar="N",
        type=number(int, 1),
        default=8,
        help="sample at no more than so many lam (default 8)",
    )
    options.add_decoding(parser, samples=4)
    options.add_output(parser, "FILE.json", "also write the result here")


def run(args: argparse.Namespace) -> None:
    """Tune and show the result."""
    check_output(args.output)
    metric = load_metric(args.metric)
    check_models(args)
    prompts = read_prompts(args)
    options.check_enough(args, prompts)
    import dera
    from dera.lam_curve.tuning import split

    split(prompts, args.held_out)  # refuses a bad share before a model is loaded

    model, tokenizer = load_pair(args, prompts)
    ranges = {
        name: getattr(args, name)
        for name in ("lams", "sampled_lams")
        if getattr(args, name) is not None
    }
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
        **ranges,
    )
    print(_table(tuning))
    print(_choice(tuning, args.aligned_beta is not None))
    for warning in tuning.warnings:
        note(f"warning: {warning}")
    if args.output is not None:
        write_json(args.output, _as_json(tuning, args))


def _table(tuning: Tuning) -> str:
    lines = []
    for i, lam in enumerate(tuning.curve.lams):
        supported = "yes" if tuning.curve.supported[i] else "no"
        mark = "<- chosen" if lam == tuning.lam else ""
        metric, kl = tuning.curve.at(i), tuning.kl_curve.at(i)
        lines.append(
            [
                f"{lam:g}",
                interval(metric, ".4g"),
                interval(kl),
                f"{tuning.curve.ess[i]:.0%}",
                supported,
                mark,
            ]
        )
    return table(["lam", "metric", "KL to reference (nats)", "ESS", "supported", ""], lines)


def _choice(tuning: Tuning, beta_known: bool) -> str:
    lines = [
        f"\nlam = {tuning.lam:g} (95% interval of the choice {tuning.low:g} to {tuning.high:g})",
        f"metric {interval(tuning.value, '.4g')}, KL to the reference {interval(tuning.kl)} nats",
    ]
    if tuning.confirmed is not None:
        lines.append(f"on the prompts held out: metric {interval(tuning.confirmed, '.4g')}")
    if tuning.beta is not None:
        lines.append(f"worth retraining at beta = {tuning.beta:.4g}")
    elif not beta_known:
        lines.append("the beta worth retraining at is known once --aligned-beta is given")
    return "\n".join(lines)


def _as_json(tuning: Tuning, args: argparse.Namespace) -> dict[str, Any]:
    names = ("mean", "low", "high")
    curve = [
        {
            "lam": float(lam),
            "metric": {name: _number(getattr(tuning.curve, name)[i]) for name in names},
            "kl": {name: _number(getattr(tuning.kl_curve, name)[i]) for name in names},
            "ess": _number(tuning.curve.ess[i]),
            "supported": bool(tuning.curve.supported[i]),
        }
        for i, lam in enumerate(tuning.curve.lams)
    ]
    return {
        "lam": tuning.lam,
        "low": tuning.low,
        "high": tuning.high,
        "metric": vars(tuning.value),
        "kl": vars(tuning.kl),
        "confirmed": None if tuning.confirmed is None else vars(tuning.confirmed),
        "beta": tuning.beta,
        "max_kl": args.max_kl,
        "sampled_lams": list(tuning.samples.sampled_lams),
        "warnings": tuning.warnings,
        "curve": curve,
    }


def _number(value: Any) -> float | None:
    """For JSON, which has neither NaN nor infinity: where a lam is far from all samples the estimate may be either."""
    return float(value) if np.isfinite(value) else None
