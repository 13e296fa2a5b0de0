"""The slow truth: each row alone, unpadded, without cache, each model by itself, in float64.

`Oracle` gives these logits to transformers' `generate`, so each mode of `generate` has an answer to
compare with. `greedy` is a loop of our own, for an answer that does not depend on `generate`.
"""

from __future__ import annotations

import copy

import torch
from transformers import GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput, CausalLMOutput


def part_logits(part, ids, source=None) -> torch.Tensor:
    """One model's next-token logits after each token of a row, float64 of shape (time, vocabulary).

    Args:
        part: the model.
        ids: the row's tokens, without padding; the decoder's tokens for an encoder-decoder.
        source: the encoder's tokens.
    """
    ids = torch.as_tensor(ids).reshape(1, -1)
    if source is None:
        inputs = {"input_ids": ids}
    else:
        inputs = {"input_ids": torch.as_tensor(source).reshape(1, -1), "decoder_input_ids": ids}
    with torch.no_grad():
        return part(**inputs, use_cache=False).logits[0].double()


def mixed(logits, lam) -> torch.Tensor:
    """Mix the reference's logits and those of the aligned models.

    The raw logits are mixed, for a repetition penalty depends on their level.
    """
    reference, *aligned = logits
    terms = [weight * part for weight, part in zip(lam, aligned, strict=True)]
    return (1 - sum(lam)) * reference + sum(terms)


def next_logits(parts, lam, ids, source=None) -> torch.Tensor:
    """Mixed next-token logits after each token of one row, float64 of shape (time, vocabulary).

    Args:
        parts: the reference, then the aligned models.
        lam: one number for each aligned model.
        ids: as for `part_logits`.
        source: as for `part_logits`.
    """
    return mixed([part_logits(part, ids, source) for part in parts], lam)


def greedy(parts, lam, ids, steps, eos, source=None, margin=1e-3) -> list[int]:
    """The tokens that greedy decoding adds.

    The loop ends with `eos`, or where two tokens are too close to tell apart in float32.

    Args:
        parts: the reference, then the aligned models.
        lam: one number for each aligned model, or a function that gives these for a position in the
            completion.
        ids: the tokens to continue.
        steps: how many tokens are added at most.
        eos: the end-of-sequence token.
        source: the encoder's tokens.
        margin: how far apart the two best logits must be, for lam = 0.
    """
    ids, added = list(ids), []
    for step in range(steps):
        weights = lam(step) if callable(lam) else lam
        logits = next_logits(parts, weights, ids + added, source)[-1]
        best, second = logits.topk(2).values.tolist()
        if best - second < margin * (1 + sum(map(abs, weights))):
            break
        added.append(int(logits.argmax()))
        if added[-1] == eos:
            break
    return added


def same_beams(parts, lams, batch, got, expected, tolerance=1e-3) -> bool:
    """Whether beam search returned the same sequences, or in their place others of the same score.

    Two beams may tie to within rounding. Which comes first then depends on the number of threads.

    Args:
        parts: the reference, then the aligned models.
        lams: for each row of the batch one number for each aligned model.
        batch: the prompts.
        got: what `generate` returned, several rows for each row of the batch.
        expected: what it was to return, of the same shape.
        tolerance: by how much scores may differ.
    """
    is_seq2seq = parts[0].config.is_encoder_decoder
    beams = len(expected) // len(lams)
    eos = parts[0].config.eos_token_id
    start = 1 if is_seq2seq else batch["input_ids"].shape[1]

    def completion(sequence):
        ids = sequence[start:].tolist()
        return ids[: ids.index(eos) + 1] if eos in ids else ids

    def score(ids, row):
        prompt = batch["input_ids"][row][batch["attention_mask"][row].bool()].tolist()
        before, source = (expected[0, :1].tolist(), prompt) if is_seq2seq else (prompt, None)
        logits = next_logits(parts, lams[row], [*before, *ids], source)
        logs = logits.log_softmax(-1)[len(before) - 1 : -1]
        return logs.gather(1, torch.tensor(ids)[:, None]).mean().item()

    for index, sequences in enumerate(zip(got, expected, strict=True)):
        ours, truth = map(completion, sequences)
        row = index // beams
        if ours != truth and abs(score(ours, row) - score(truth, row)) >= tolerance:
            return False
    return True


class Oracle(PreTrainedModel, GenerationMixin):
    """The truth as a transformers model; use it with `use_cache=False`.

    The logits of a part for a text are computed once and remembered. The parts must not change.
    """

    main_input_name = "input_ids"
    _supports_sdpa = True
    _can_set_experts_implementation_cached_value = True

    def __init__(self, parts):
        super().__init__(copy.deepcopy(parts[-1].config))
        self.parts = list(parts)
        self.device_holder = torch.nn.Parameter(torch.zeros(1))  # gives the model a device
        self.generation_config = copy.deepcopy(parts[-1].generation_config)
        self.remembered = {}

    def get_encoder(self, modality=None):
        return _Source()

    def forward(
        self,
        input_ids=None,
        attention_mask=None,
        decoder_input_ids=None,
        encoder_outputs=None,
        lam=None,
        **_,
    ):
        tokens = input_ids if encoder_outputs is None else decoder_input_ids
        logits = torch.zeros(*tokens.shape, self.config.vocab_size, dtype=torch.double)
        for row, ids in enumerate(tokens):
            weights = lam[row].reshape(-1).tolist()
            real = slice(None) if attention_mask is None else attention_mask[row].bool()
            if encoder_outputs is None:
                logits[row, real] = mixed(self.logits_of_parts(ids[real]), weights)
            else:
                source = encoder_outputs[0][row, :, 0][real]
                logits[row] = mixed(self.logits_of_parts(ids, source), weights)
        return CausalLMOutput(logits=logits)

    def logits_of_parts(self, ids, source=None):
        """The logits of each part for one row, as `part_logits` gives them."""
        text = tuple(ids.tolist()), None if source is None else tuple(source.tolist())
        if text not in self.remembered:
            self.remembered[text] = [part_logits(part, ids, source) for part in self.parts]
        return self.remembered[text]


class _Source:
    """An encoder that hands the source tokens through."""

    def forward(self, input_ids, **kwargs):
        return BaseModelOutput(last_hidden_state=input_ids[..., None])

    __call__ = forward
