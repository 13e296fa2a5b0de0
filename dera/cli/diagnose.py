"""`dera diagnose`: how far decoding token by token is from the exact mixture."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from dera.cli import options
from dera.cli.models import check_models, load_pair
from dera.cli.output import check_output, interval, note, table, write_json
from dera.cli.prompts import read_prompts

SUMMARY = "measure how good the approximation is, for your pair"
DESCRIPTION = f"""\
DeRa mixes the two models token by token, which approximates the exact mixture
over whole completions. This measures how far the two are apart (the gap: a KL
in nats a completion, 0 is exact), without training anything, and sets it beside
the KL to the reference. A gap far smaller than that KL says that lam can be
relied on. At lam 0 and 1 it is 0 by definition.

{options.STRENGTH}"""
EPILOG = """\
examples:
  dera diagnose models/sft models/aligned --prompts prompts.txt
  dera diagnose models/sft models/aligned --prompts prompts.jsonl --lams 0.25,0.5,2,4 --samples 16 --output gaps.json
"""
DEFAULT_LAMS = (0.25, 0.5, 0.75, 1.5, 2.0)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of this command."""
    options.add_models(parser)
    options.add_prompts(parser)
    options.add_lams(
        parser, DEFAULT_LAMS, f" (default {','.join(f'{lam:g}' for lam in DEFAULT_LAMS)})"
    )
    options.add_decoding(parser, samples=8)
    options.add_output(parser, "FILE.json", "also write the result here")


def run(args: argparse.Namespace) -> None:
    """Measure and show the gap at each lam."""
    check_output(args.output)
    check_models(args)
    prompts = read_prompts(args)
    options.check_enough(args, prompts)
    import dera
    from dera.estimators import FEW_PROMPTS

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
    lines = [
        [f"{at.lam:g}", interval(at.gap), interval(at.kl), f"{at.ess:.1f} of {at.samples}"]
        for at in gaps
    ]
    print(table(["lam", "gap (nats)", "KL to reference (nats)", "ESS of samples"], lines))
    for at in gaps:
        if at.warning:
            note(f"warning: {at.warning}")
    if len(prompts) < FEW_PROMPTS:
        note(f"warning: there are only {len(prompts)} prompts: every interval here is too narrow")
    if args.output is not None:
        write_json(args.output, [asdict(at) for at in gaps])
