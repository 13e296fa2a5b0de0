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

At most four models are in memory at once: one retrained model and one other reference at a time.

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

    def reference(self, name: str, own: Models) -> Any:
        """Return the reference of a name, which is loaded unless it is the own one.

        Raises:
            ValueError: if it has another tokenizer than the own one.
        """
        if name == OWN:
            return own.reference
        paths = (str(self.references[OWN]), str(self.references[name]))
        check_same_tokenizer(own.tokenizer, chat.prompt_tokenizer(paths[1]), paths)
        model = AutoModelForCausalLM.from_pretrained(paths[1], use_safetensors=True)
        return model.eval().to(job.device())


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
        """Return a row for each reference, beta and prompt, with what the mixture reads."""
        settings = self.settings
        if not settings.other_betas:
            empty = pd.DataFrame(columns=[*KEYS, "beta", "kl_retrained", "kl_reference"])
            return empty.astype({"prompt_id": int})
        tables = []
        for beta in settings.other_betas:
            models = self.folders.load([settings.anchor, beta], settings.seed)
            folder = self.folders.samples[beta]
            rows = retrained_completions(folder, settings.of_readings(), beta)
            for name in settings.references:
                tables.append(self._read_with(name, beta, models, rows))
            self.progress.say(f"read the model retrained at {beta}")
        return pd.concat(tables, ignore_index=True)

    def write(self) -> pd.DataFrame:
        """Return a row for each reference, lam and prompt, with what the mixture writes."""
        models = self.folders.load([self.settings.anchor], self.settings.seed)
        scorer = Scorer(self.settings.task.create())
        tables = []
        for name in self.settings.references:
            tables.append(self._write_with(name, models, scorer))
            self.progress.say(f"mixed with the reference {name!r}")
        means = pd.concat(tables, ignore_index=True).rename(columns={"log_ratio": "kl"})
        return means.groupby(KEYS, sort=False)[["gold", "whole", "kl"]].mean().reset_index()

    def _write_with(self, name: str, models: Models, scorer: Scorer) -> pd.DataFrame:
        """Return the scored completions that the mixtures with one reference write."""
        settings = self.settings
        reference = self.folders.reference(name, models)
        mixed = RealignedModel(reference, models.aligned[settings.anchor, settings.seed])
        decoder = Decoder(mixed, models.tokenizer, settings.max_new_tokens)
        decoding = settings.of_decoding()
        job_of_mixture = decode.DecodingJob(decoding, self.prompts, decoder, self.progress)
        drawn, _ = job_of_mixture.decode_all()

        # All mixtures are judged by how far they are from the own reference.
        drawn["logp_reference"] = self._log_probs(models, drawn)
        scored = scorer.score(drawn, self.prompts)
        return scored.assign(reference=name, whole=1 - scored["broken"])

    def _read_with(self, name: str, beta: str, models: Models, rows: pd.DataFrame) -> pd.DataFrame:
        """Return the two KL from a retrained model for one reference, a row for each prompt."""
        reference = self.folders.reference(name, models)
        lam = self.settings.matched_lam(beta)
        tables = []
        for part in self._cut(rows):
            found = readings.read(
                models.aligned[beta, self.settings.seed],
                reference,
                models.aligned[self.settings.anchor, self.settings.seed],
                self._completions(models, part),
                [float(Fraction(lam))],
            )
            columns = {"kl_retrained": found.by_lam.kl[0], "kl_reference": found.to_reference}
            numbers = {column: values.cpu().numpy() for column, values in columns.items()}
            tables.append(part[["prompt_id"]].assign(**numbers))
        means = pd.concat(tables).groupby("prompt_id").mean().reset_index()
        return means.assign(reference=name, beta=beta, lam=lam)

    def _log_probs(self, models: Models, rows: pd.DataFrame) -> list[float]:
        """Return the own reference's log-probability of each completion, in nats."""
        values: list[float] = []
        for part in self._cut(rows):
            batch = self._completions(models, part)
            values += log_probabilities(models.reference, batch).tolist()
        return values

    def _cut(self, rows: pd.DataFrame) -> Iterator[pd.DataFrame]:
        """Cut a table of completions into batches."""
        for start in range(0, len(rows), self.settings.batch_size):
            yield rows.iloc[start : start + self.settings.batch_size]

    def _completions(self, models: Models, rows: pd.DataFrame) -> Completions:
        """Return completions after their prompts, as models read them."""
        texts = [self.prompts[prompt_id] for prompt_id in rows["prompt_id"]]
        encoded = batch_of(models.reference, models.tokenizer, texts)
        return Completions.from_token_ids(
            encoded["input_ids"],
            encoded["attention_mask"],
            rows["token_ids"].map(list).tolist(),
            rows["finished"].tolist(),
            end_tokens(models.reference, models.tokenizer),
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
