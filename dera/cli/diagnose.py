"""`dera diagnose`: how far decoding token by token is from the exact mixture."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

from dera.cli import options
from dera.cli.models import check_models, load_pair
from dera.cli.output import interval, table
from dera.cli.prompts import read_prompts
from dera.cli.requested import check_total
from dera.cli.resultfile import ResultFile
from dera.cli.resumed import Outcome, run_or_resume

if TYPE_CHECKING:
    from dera import Gap

SUMMARY = "measure how good the approximation is, for your pair"
DESCRIPTION = f"""\
DeRa mixes the two models token by token, which approximates the exact mixture
over whole completions. This command measures how far apart the two are, without
training anything. The gap is a KL in nats a completion, and 0 means exact. It
is printed beside the KL to the reference. If the gap is far smaller than that
KL, lam can be relied on. At lam 0 and 1 the gap is 0 by definition. With
--output, a command that was interrupted goes on where it stopped.

{options.STRENGTH}"""
EPILOG = """\
examples:
  dera diagnose models/sft models/aligned --prompts prompts.txt
  dera diagnose models/sft models/aligned --prompts prompts.jsonl --lams 0.25,0.5,2,4 \\
    --samples 16 --output gaps.json
"""
DEFAULT_LAMS = (0.25, 0.5, 0.75, 1.5, 2.0)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    options.add_models(parser)
    options.add_prompts(parser)
    defaults = ",".join(f"{lam:g}" for lam in DEFAULT_LAMS)
    options.add_lams(parser, f"Measure at these mixing weights (default {defaults}).", DEFAULT_LAMS)
    options.add_decoding(parser, samples=8)
    options.add_output(parser, "FILE.json", "Write the result to this file too.")


def run(args: argparse.Namespace) -> None:
    """Measure and show the gap at each lam."""
    # Check what can be checked without a model.
    check_models(args)
    prompts = read_prompts(args)
    options.check_enough(args, prompts)
    check_total(len(prompts), len(args.lams), args.samples)
    run_or_resume(args, prompts, lambda record: _measured(args, prompts, record))


def _measured(args: argparse.Namespace, prompts: list[str], record: ResultFile | None) -> Outcome:
    """Measure the gap at each lam, and say what casts doubt on it."""
    import dera
    from dera.estimators import FEW_PROMPTS

    model, tokenizer = load_pair(args, prompts)
    if record is not None:
        record.begin()
    gaps = dera.diagnose(
        model,
        tokenizer,
        prompts,
        args.lams,
        args.max_new_tokens,
        samples=args.samples,
        batch_size=args.batch_size,
        seed=args.seed,
        progress=not args.quiet,
        record=record,
    )
    notes = [f"warning: {gap.warning}" for gap in gaps if gap.warning]
    if len(prompts) < FEW_PROMPTS:
        notes.append(
            f"warning: there are only {len(prompts)} prompts, so every interval here is too "
            f"narrow: give at least {FEW_PROMPTS}"
        )
    return Outcome([asdict(gap) for gap in gaps], _table(gaps), notes)


def _table(gaps: list[Gap]) -> str:
    """Return a table with a line for each lam."""
    lines = [
        [f"{gap.lam:g}", interval(gap.gap), interval(gap.kl), f"{gap.ess:.1f} of {gap.samples}"]
        for gap in gaps
    ]
    return table(["lam", "gap (nats)", "KL to reference (nats)", "ESS of samples"], lines)
