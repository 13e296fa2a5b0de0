"""Read retrained models' own completions by the reference, by DeRa and by another seed's models.

What a reading is, and how the KL divergence over whole completions follows from it, is said in
`dera.readings`. The job reads the completions of one objective's retrained models of one seed, at
every beta, as `eval.decode` drew them. It writes a Parquet file with a row for each beta, reader
and prompt, and for DeRa each anchor and factor:

- `task`, `objective`, `beta` (text, as in completions.parquet), `seed`: whose completions;
- `reader`: "reference"; "retrained", the model of `other_seed` at the same beta, whose KL is the
  floor; or "dera";
- `reader_seed`: the seed of the retrained model, or of the aligned model that DeRa starts from.
  DeRa of the completions' own seed reads within a seed, and DeRa of the other one across seeds;
- `anchor` (text), `lam`, `factor`: of DeRa; lam is factor * anchor / beta;
- `prompt_id`;
- `kl`: KL(retrained || reader) in nats over whole completions, averaged over those of the prompt;
- `slope`: of DeRa, the derivative of `kl` with respect to lam.

A column is empty where it does not apply to the reader.

Settings: `eval.read_settings.Reading`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor

from dera import chat, readings
from dera.completions import Completions, end_tokens
from dera.model.realigned import RealignedModel
from dera.rows import batch_of
from dera.teacher_forcing import next_token_log_probs
from eval.decode import held_out
from eval.read_settings import FACTORS, Reading
from eval.readings import COLUMNS
from study import job


@dataclass(frozen=True)
class Models:
    """The reference, its tokenizer, and the aligned models by their beta and seed."""

    reference: Any
    tokenizer: Any
    aligned: Mapping[tuple[str, int], Any]


def load(reference: Path, adapters: Sequence[Path], names: Sequence[tuple[str, int]]) -> Models:
    """Load the reference, and each adapter merged into a copy of it.

    The adapters stand in the order of their names. All models are in memory at once.
    """
    together = RealignedModel.from_pretrained(reference, list(adapters), merge_adapter=True)
    together.to(job.device())  # type: ignore[arg-type]
    modules = [part.module for part in together.parts]
    aligned = dict(zip(names, modules[1:], strict=True))
    return Models(modules[0], chat.prompt_tokenizer(reference), aligned)


def retrained_completions(folder: Path, settings: Reading, beta: str) -> pd.DataFrame:
    """Return the completions of one retrained model that are read, prompt by prompt.

    Raises:
        ValueError: if the folder has completions of another model, or too few of them.
    """
    table = pd.read_parquet(folder / "completions.parquet")
    table = table[table["kind"] == "retrained"]
    drawn_by = table[["objective", "beta", "seed"]].drop_duplicates().to_numpy().tolist()
    if drawn_by != [[settings.objective, beta, settings.seed]]:
        raise ValueError(
            f"{folder} has completions of {drawn_by}, not of the model retrained with "
            f"{[settings.objective, beta, settings.seed]}: give --samples in the order of betas "
            f"({', '.join(settings.betas)})"
        )
    read = table[table["sample_id"].lt(settings.samples)]
    read = read[read["prompt_id"].lt(settings.prompts)]
    expected = settings.prompts * settings.samples
    if len(read) != expected:
        raise ValueError(
            f"{folder} has {len(read)} of the {expected} completions to read: lower "
            f"evaluation.reading_samples = {settings.samples} or draw more"
        )
    return read.sort_values(["prompt_id", "sample_id"])


class ReadingJob:
    """Reads the completions in batches of prompts, and keeps the divergences of each prompt.

    A batch has the completions of all betas after its prompts, so that a model reads a prompt once.
    """

    def __init__(
        self,
        settings: Reading,
        prompts: list[str],
        completions: Mapping[str, pd.DataFrame],
        models: Models,
        progress: job.Progress,
    ):
        self.settings = settings
        self.prompts = prompts
        self.completions = completions
        self.models = models
        self.progress = progress

    def read_all(self) -> pd.DataFrame:
        """Return the table that the module's docstring describes."""
        of_a_prompt = self.settings.samples * len(self.settings.betas)
        step = max(1, self.settings.batch_size // of_a_prompt)
        tables = []
        for start in range(0, len(self.prompts), step):
            prompt_ids = range(start, min(start + step, len(self.prompts)))
            tables += self._read_batch(prompt_ids)
            self.progress.update(prompt_ids.stop, len(self.prompts), "prompts")
        labels = {name: getattr(self.settings, name) for name in ("task", "objective", "seed")}
        table = pd.concat(tables, ignore_index=True).assign(**labels)
        table = table.reindex(columns=list(COLUMNS)).astype({"reader_seed": "Int64"})
        return table.sort_values(list(COLUMNS[:-2]), kind="stable", ignore_index=True)

    def _read_batch(self, prompt_ids: range) -> Iterator[pd.DataFrame]:
        """Yield a table for each beta and reader."""
        # The reference and the anchors read the completions of every beta.
        batch = self._batch(prompt_ids)
        reference = next_token_log_probs(self.models.reference, batch)
        anchors = {}
        for seed in self.settings.seeds:
            for anchor in self.settings.anchors:
                model = self.models.aligned[anchor, seed]
                anchors[anchor, seed] = next_token_log_probs(model, batch)

        # The rows of a beta stand side by side, and so do their tokens.
        rows = len(prompt_ids) * self.settings.samples
        tokens_before = 0
        for place, beta in enumerate(self.settings.betas):
            part = batch.select(slice(place * rows, (place + 1) * rows))
            tokens = slice(tokens_before, tokens_before + sum(part.lengths()))
            tokens_before = tokens.stop
            anchors_here = {name: logs[tokens] for name, logs in anchors.items()}
            for table in self._read_beta(beta, part, reference[tokens], anchors_here):
                yield table.assign(
                    beta=beta, prompt_id=[*prompt_ids] * (len(table) // len(prompt_ids))
                )

    def _batch(self, prompt_ids: range) -> Completions:
        """Return the completions of all betas after these prompts, beta by beta."""
        tables = []
        for beta in self.settings.betas:
            table = self.completions[beta]
            tables.append(table[table["prompt_id"].isin(prompt_ids)])
        table = pd.concat(tables)
        texts = [self.prompts[prompt_id] for prompt_id in table["prompt_id"]]
        encoded = batch_of(self.models.reference, self.models.tokenizer, texts)
        return Completions.from_token_ids(
            encoded["input_ids"],
            encoded["attention_mask"],
            table["token_ids"].map(list).tolist(),
            table["finished"].tolist(),
            end_tokens(self.models.reference, self.models.tokenizer),
        )

    def _read_beta(
        self,
        beta: str,
        completions: Completions,
        reference: Tensor,
        anchors: Mapping[tuple[str, int], Tensor],
    ) -> Iterator[pd.DataFrame]:
        """Yield a table for each reader of one retrained model's completions."""

        def log_probs(seed: int) -> Tensor:
            if (beta, seed) in anchors:
                return anchors[beta, seed]
            return next_token_log_probs(self.models.aligned[beta, seed], completions)

        # The reference and the other seed's model, whose KL is the floor.
        settings = self.settings
        own = log_probs(settings.seed)
        kl = readings.kl(own, reference, completions)
        yield self._table(kl[None]).assign(reader="reference")
        if settings.other_seed is not None:
            kl = readings.kl(own, log_probs(settings.other_seed), completions)
            yield self._table(kl[None]).assign(reader="retrained", reader_seed=settings.other_seed)

        # DeRa from each anchor, at every lam.
        for (anchor, seed), aligned in anchors.items():
            lams = settings.lams(anchor, beta)
            found = readings.kl_by_lam(own, reference, aligned, lams, completions)
            table = self._table(found.kl, found.slope)
            prompts = len(table) // len(lams)
            yield table.assign(
                reader="dera",
                reader_seed=seed,
                anchor=anchor,
                lam=[lam for lam in lams for _ in range(prompts)],
                factor=[factor for factor in FACTORS for _ in range(prompts)],
            )

    def _table(self, kl: Tensor, slope: Tensor | None = None) -> pd.DataFrame:
        """Return means over a prompt's completions, of tensors of shape (lams, rows)."""
        columns = {"kl": kl} if slope is None else {"kl": kl, "slope": slope}
        means = {}
        for name, values in columns.items():
            of_prompts = values.unflatten(1, (-1, self.settings.samples)).mean(-1)
            means[name] = of_prompts.flatten().cpu().numpy()
        return pd.DataFrame(means)


def main() -> None:
    parser = job.parser(__doc__)
    parser.add_argument("--reference", type=Path, required=True, help="folder of the reference")
    parser.add_argument(
        "--adapters",
        type=Path,
        nargs="+",
        required=True,
        help="folders of the adapters or whole models: of `seed` at each of `betas`, then of "
        "`other_seed`",
    )
    parser.add_argument(
        "--samples",
        type=Path,
        nargs="+",
        required=True,
        help="folders of the completions of the models of `seed`, at each of `betas`",
    )
    parser.add_argument(
        "--prompts", type=Path, required=True, help="Parquet file with a column prompt"
    )
    parser.add_argument("--output", type=Path, required=True, help="Parquet file of the readings")
    args = parser.parse_args()
    settings = job.settings_of(args, Reading)
    needed = {"adapters": len(settings.models), "samples": len(settings.betas)}
    for name, count in needed.items():
        given = len(getattr(args, name))
        if given != count:
            parser.error(f"these betas and seeds need {count} --{name}, got {given}")
    label = f"{settings.task} read {settings.objective} seed={settings.seed}"
    with job.running(label, args) as progress:
        completions = {}
        for beta, folder in zip(settings.betas, args.samples, strict=True):
            completions[beta] = retrained_completions(folder, settings, beta)
        prompts = held_out(args.prompts, settings.prompts)
        models = load(args.reference, args.adapters, settings.models)
        table = ReadingJob(settings, prompts, completions, models, progress).read_all()
        with job.atomic_path(args.output) as path:
            table.to_parquet(path, index=False)


if __name__ == "__main__":
    main()
