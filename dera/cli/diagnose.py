"""`dera diagnose`: how far decoding token by token is from the exact mixture."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

from dera.cli import options
from dera.cli.models import check_models, load_pair
from dera.cli.output import check_output, interval, note, table, write_json
from dera.cli.prompts import read_prompts

if TYPE_CHECKING:
    from dera import Gap

SUMMARY = "measure how good the approximation is, for your pair"
DESCRIPTION = f"""\
DeRa mixes the two models token by token, which approximates the exact mixture
over whole completions. This command measures how far apart the two are, without
training anything. The gap is a KL in nats a completion, and 0 means exact. It
is printed beside the KL to the reference. If the gap is far smaller than that
KL, lam can be relied on. At lam 0 and 1 the gap is 0 by definition.

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
    check_output(args.output)
    check_models(args)
    prompts = read_prompts(args)
    options.check_enough(args, prompts)
    import dera
    from dera.estimators import FEW_PROMPTS

    # Measure.
    model, tokenizer = load_pair(args, prompts)
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
    )

    # Show the result, and what casts doubt on it.
    print(_table(gaps))
    for gap in gaps:
        if gap.warning:
            note(f"warning: {gap.warning}")
    if len(prompts) < FEW_PROMPTS:
        note(
            f"warning: there are only {len(prompts)} prompts, so every interval here is too "
            f"narrow: give at least {FEW_PROMPTS}"
        )
    if args.output is not None:
        write_json(args.output, [asdict(gap) for gap in gaps])


def _table(gaps: list[Gap]) -> str:
    """Return a table with a line for each lam."""
    lines = [
        [f"{gap.lam:g}", interval(gap.gap), interval(gap.kl), f"{gap.ess:.1f} of {gap.samples}"]
        for gap in gaps
    ]
    return table(["lam", "gap (nats)", "KL to reference (nats)", "ESS of samples"], lines)
