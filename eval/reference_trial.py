"""Mix one aligned model with several references: its own one, and others.

DeRa starts from the reference that its aligned model was aligned from. This job mixes the aligned
model of one seed with every reference of the settings in the same way, reads the completions of the
models retrained with that seed by each mixture, and lets each mixture write completions. The own
reference is one of them, so that all are measured alike. The job writes a Parquet file with a row
for each reference, lam and prompt:

- `task`, `objective`, `seed`, `anchor` (text): the aligned model;
- `reference`: "own"; "pretrained", the model before SFT; or "other", a reference of the same kind
  that learnt from other demonstrations;
- `lam` (text), and `beta` (text): the beta other than the anchor that lam matches, or empty;
- `prompt_id`;
- `gold`, `whole`, `kl`: means over completions of the mixture. `whole` is 1 for a completion that
  ended by itself and is not broken, and `kl` estimates KL(mixture || own reference) in nats;
- `kl_retrained`: KL(retrained at beta || mixture) in nats over whole completions, averaged over
  those of the retrained model (`dera.readings`); empty where there is no beta;
- `kl_reference`: the same KL to the reference that is mixed, which is the mixture at lam = 0.

At most four models are in memory at once.

Settings: `Trial`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from transformers import AutoModelForCausalLM

from dera import chat, readings
from dera.completions import Completions, end_tokens
from dera.model.realigned import RealignedModel
from dera.model.vocabulary import check_same_tokenizer
from dera.rows import batch_of
from dera.scoring import log_probabilities
from eval import decode, decode_settings
from eval.decode_settings import Exact
from eval.other_references import COLUMNS
from eval.read import Models, load, retrained_completions
from eval.read_settings import Reading
from eval.samplers import Decoder
from eval.score import Scorer
from study import job
from study.other_references import OWN
from tasks import TaskSettings

#: What identifies a row of the table.
KEYS = ["reference", "lam", "prompt_id"]


@job.settings_class
class Trial:
    """Which models one trial mixes and reads.

    The aligned model is that of `anchor`, one of `betas`, of the objective and the seed. It is
    mixed with each of `references`, the own one first, at each of `lams`, the matched lam of every
    beta among them. The first `prompts` held-out prompts are decoded, `samples` completions of
    each. As many completions of each retrained model are read. A batch has `batch_size`
    completions.
    """

    task: TaskSettings
    objective: str
    anchor: Exact
    betas: tuple[Exact, ...]
    seed: int
    references: tuple[str, ...]
    lams: tuple[Exact, ...]
    prompts: int
    samples: int
    batch_size: int
    max_new_tokens: int

    def __post_init__(self) -> None:
        if self.references[:1] != (OWN,):
            raise ValueError(f"references = {self.references}: must begin with {OWN!r}")
        if self.anchor not in self.betas:
            raise ValueError(
                f"anchor = {self.anchor}: must be one of the betas {', '.join(self.betas)}"
            )
        for beta in self.other_betas:
            if self.matched_lam(beta) not in self.lams:
                raise ValueError(
                    f"lams = {self.lams}: must have {self.matched_lam(beta)}, which matches the "
                    f"beta {beta}"
                )

    @property
    def other_betas(self) -> list[str]:
        """The betas of the retrained models that are read."""
        return [beta for beta in self.betas if beta != self.anchor]

    def matched_lam(self, beta: str) -> str:
        """Return anchor / beta, as it is written in `lams`."""
        return str(Fraction(self.anchor) / Fraction(beta))

    def of_readings(self) -> Reading:
        """Return which completions of the retrained models are read."""
        return Reading(
            task=self.task.name,
            objective=self.objective,
            betas=self.betas,
            anchors=(self.anchor,),
            seed=self.seed,
            other_seed=None,
            prompts=self.prompts,
            samples=self.samples,
            batch_size=self.batch_size,
        )

    def of_decoding(self) -> decode_settings.Decoding:
        """Return what each mixture writes."""
        dera = decode_settings.Dera("dera", self.objective, self.anchor, self.seed, self.lams)
        return decode_settings.Decoding(
            task=self.task.name,
            prompts=self.prompts,
            samples=self.samples,
            reference_samples=self.samples,
            batch_size=self.batch_size,
            max_new_tokens=self.max_new_tokens,
            policies=(dera,),
        )


@dataclass(frozen=True)
class Folders:
    """Where the models and the retrained models' completions lie.

    `references` has a folder for each name, the own reference first. `adapters` and `samples` have
    one for each beta.
    """

    references: Mapping[str, Path]
    adapters: Mapping[str, Path]
    samples: Mapping[str, Path]

    def load(self, betas: Sequence[str], seed: int) -> Models:
        """Load the own reference, and the models of these betas."""
        adapters = [self.adapters[beta] for beta in betas]
        return load(self.references[OWN], adapters, [(beta, seed) for beta in betas])

    def each_reference(self, own: Models) -> Iterator[tuple[str, Any]]:
        """Yield the name of each reference and the model, which is loaded when its turn comes.

        Raises:
            ValueError: if a reference has another tokenizer than the own one.
        """
        yield OWN, own.reference
        for name, folder in self.references.items():
            if name != OWN:
                paths = (str(self.references[OWN]), str(folder))
                check_same_tokenizer(own.tokenizer, chat.prompt_tokenizer(folder), paths)
                model = AutoModelForCausalLM.from_pretrained(folder, use_safetensors=True)
                yield name, model.eval().to(job.device())


class ReferenceTrial:
    """Mixes the aligned model with each reference, and lets the mixtures read and write."""

    def __init__(
        self, settings: Trial, folders: Folders, prompts: list[str], progress: job.Progress
    ):
        self.settings = settings
        self.folders = folders
        self.prompts = prompts
        self.progress = progress

    def table(self) -> pd.DataFrame:
        """Return the table that the module's docstring describes."""
        settings = self.settings
        labels = {name: getattr(settings, name) for name in ("objective", "seed", "anchor")}
        table = self.write().merge(self.read(), on=KEYS, how="left", validate="one_to_one")
        table = table.assign(task=settings.task.name, **labels)
        return table.reindex(columns=list(COLUMNS))

    def read(self) -> pd.DataFrame:
        """Return a row for each reference, beta and prompt, with the KL from the retrained model.

        One retrained model is in memory at a time.
        """
        settings = self.settings
        if not settings.other_betas:
            empty = pd.DataFrame(columns=[*KEYS, "beta", "kl_retrained", "kl_reference"])
            return empty.astype({"prompt_id": int})
        tables = []
        for beta in settings.other_betas:
            rows = retrained_completions(
                self.folders.samples[beta], settings.of_readings(), beta
            ).reset_index(drop=True)
            models = self.folders.load([settings.anchor, beta], settings.seed)
            for name, reference in self.folders.each_reference(models):
                kl = pd.concat(
                    [self._read_batch(beta, reference, models, part) for part in self._cut(rows)]
                )
                lam = settings.matched_lam(beta)
                tables.append(kl.reset_index().assign(reference=name, beta=beta, lam=lam))
            self.progress.say(f"read the model retrained at {beta}")
        return pd.concat(tables, ignore_index=True)

    def write(self) -> pd.DataFrame:
        """Return a row for each reference, lam and prompt, with what the mixture writes."""
        settings = self.settings
        scorer = Scorer(settings.task.create())
        models = self.folders.load([settings.anchor], settings.seed)
        aligned = models.aligned[settings.anchor, settings.seed]
        tables = []
        for name, reference in self.folders.each_reference(models):
            mixed = RealignedModel(reference, aligned)
            decoder = Decoder(mixed, models.tokenizer, settings.max_new_tokens)
            decoding = decode.DecodingJob(
                settings.of_decoding(), self.prompts, decoder, self.progress
            )
            drawn, _ = decoding.decode_all()

            # All mixtures are judged by how far they are from the own reference.
            drawn["logp_reference"] = self._log_probs(models.reference, models.tokenizer, drawn)
            scored = scorer.score(drawn, self.prompts)
            tables.append(scored.assign(reference=name, whole=1 - scored["broken"]))
            self.progress.say(f"mixed with the reference {name!r}")
        means = pd.concat(tables, ignore_index=True).rename(columns={"log_ratio": "kl"})
        return means.groupby(KEYS, sort=False)[["gold", "whole", "kl"]].mean().reset_index()

    def _read_batch(
        self, beta: str, reference: Any, models: Models, rows: pd.DataFrame
    ) -> pd.DataFrame:
        """Return the two KL from a retrained model, averaged over the completions of a prompt."""
        seed, anchor = self.settings.seed, self.settings.anchor
        found = readings.read(
            models.aligned[beta, seed],
            reference,
            models.aligned[anchor, seed],
            self._completions(models.reference, models.tokenizer, rows),
            [float(Fraction(self.settings.matched_lam(beta)))],
        )
        columns = {"kl_retrained": found.by_lam.kl[0], "kl_reference": found.to_reference}
        numbers = {name: values.cpu().numpy() for name, values in columns.items()}
        table = pd.DataFrame({"prompt_id": rows["prompt_id"].to_numpy(), **numbers})
        return table.groupby("prompt_id").mean()

    def _log_probs(self, model: Any, tokenizer: Any, rows: pd.DataFrame) -> list[float]:
        """Return a model's log-probability of each completion, in nats."""
        values: list[float] = []
        for part in self._cut(rows):
            batch = self._completions(model, tokenizer, part)
            values += log_probabilities(model, batch).tolist()
        return values

    def _cut(self, rows: pd.DataFrame) -> Iterator[pd.DataFrame]:
        """Cut a table that is sorted by prompt into batches; no prompt is in two of them."""
        of_prompt = len(rows) // self.settings.prompts
        step = max(1, self.settings.batch_size // of_prompt) * of_prompt
        for start in range(0, len(rows), step):
            yield rows.iloc[start : start + step]

    def _completions(self, model: Any, tokenizer: Any, rows: pd.DataFrame) -> Completions:
        """Return completions after their prompts, as models read them."""
        texts = [self.prompts[prompt_id] for prompt_id in rows["prompt_id"]]
        encoded = batch_of(model, tokenizer, texts)
        return Completions.from_token_ids(
            encoded["input_ids"],
            encoded["attention_mask"],
            rows["token_ids"].map(list).tolist(),
            rows["finished"].tolist(),
            end_tokens(model, tokenizer),
        )


def main() -> None:
    parser = job.parser(__doc__)
    parser.add_argument(
        "--references",
        type=Path,
        nargs="+",
        required=True,
        help="folders of the references, in the order of `references`",
    )
    parser.add_argument(
        "--adapters",
        type=Path,
        nargs="+",
        required=True,
        help="folders of the adapters of `seed`, in the order of `betas`",
    )
    parser.add_argument(
        "--samples",
        type=Path,
        nargs="+",
        required=True,
        help="folders of the completions of the models of `seed`, in the order of `betas`",
    )
    parser.add_argument(
        "--prompts", type=Path, required=True, help="Parquet file with a column prompt"
    )
    parser.add_argument("--output", type=Path, required=True, help="Parquet file for the table")
    args = parser.parse_args()
    settings = job.settings_of(args, Trial)
    named = {}
    for option, names in (
        ("references", settings.references),
        ("adapters", settings.betas),
        ("samples", settings.betas),
    ):
        given = getattr(args, option)
        if len(given) != len(names):
            parser.error(f"these settings need {len(names)} --{option}, got {len(given)}")
        named[option] = dict(zip(names, given, strict=True))
    label = f"{settings.task.name} references seed={settings.seed}"
    with job.running(label, args) as progress:
        torch.manual_seed(args.seed)
        prompts = decode.held_out(args.prompts, settings.prompts)
        table = ReferenceTrial(settings, Folders(**named), prompts, progress).table()
        with job.atomic_path(args.output) as path:
            table.to_parquet(path, index=False)


if __name__ == "__main__":
    main()
