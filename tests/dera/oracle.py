"""The slow truth: every row alone, without padding and without cache, each model by itself, mixed in float64.

`Oracle` gives these logits to transformers' `generate`, so that each of its modes has an answer to compare with; `greedy` is a
loop of our own, for an answer that does not depend on `generate` either.
"""

from __future__ import annotations

import copy

import torch
from transformers import GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput, CausalLMOutput


def next_logits(parts, lam, ids, source=None) -> torch.Tensor:
    """Mixed next-token logits after each token of one row, float64 of shape (time, vocabulary).

    The raw logits are mixed, for a repetition penalty depends on their level.

    Args:
        parts: the reference, then the aligned models.
        lam: one number for each aligned model.
        ids: the row's tokens, without padding; of the decoder for an encoder-decoder.
        source: the encoder's tokens.
    """
    ids = torch.as_tensor(ids).reshape(1, -1)
    inputs = (
        {"input_ids": ids}
        if source is None
        else {"input_ids": torch.as_tensor(source).reshape(1, -1), "decoder_input_ids": ids}
    )
    with torch.no_grad():
        logs = [part(**inputs, use_cache=False).logits[0].double() for part in parts]
    return (1 - sum(lam)) * logs[0] + sum(
        weight * log for weight, log in zip(lam, logs[1:], strict=True)
    )


def greedy(parts, lam, ids, steps, eos, source=None, margin=1e-3) -> list[int]:
    """The tokens greedy decoding adds, up to `eos` or to where two tokens are too close to tell apart in float32.

    Args as for `next_logits`; `lam` may be a function of the position in the completion.
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

    Two beams may tie to within rounding, and which comes first then depends on the number of threads.

    Args:
        parts, lams: as for `next_logits`, one lam a row of `batch`.
        got, expected: what `generate` returned, several rows for each row of `batch`.
    """
    seq2seq, beams = parts[0].config.is_encoder_decoder, len(expected) // len(lams)
    eos, start = parts[0].config.eos_token_id, 1 if seq2seq else batch["input_ids"].shape[1]

    def added(row):
        ids = row[start:].tolist()
        return ids[: ids.index(eos) + 1] if eos in ids else ids

    def score(ids, row):
        prompt = batch["input_ids"][row][batch["attention_mask"][row].bool()].tolist()
        before, source = (expected[0, :1].tolist(), prompt) if seq2seq else (prompt, None)
        logs = next_logits(parts, lams[row], [*before, *ids], source).log_softmax(-1)[
            len(before) - 1 : -1
        ]
        return logs.gather(1, torch.tensor(ids)[:, None]).mean().item()

    pairs = [
        (added(a), added(b), i // beams) for i, (a, b) in enumerate(zip(got, expected, strict=True))
    ]
    return all(a == b or abs(score(a, row) - score(b, row)) < tolerance for a, b, row in pairs)


class Oracle(PreTrainedModel, GenerationMixin):
    """The truth as a transformers model; use it with `use_cache=False`."""

    main_input_name = "input_ids"
    _supports_sdpa = True
    _can_set_experts_implementation_cached_value = True

    def __init__(self, parts):
        super().__init__(copy.deepcopy(parts[-1].config))
        self.parts = list(parts)
        self.anchor = torch.nn.Parameter(torch.zeros(1))  # gives the model a device
        self.generation_config = copy.deepcopy(parts[-1].generation_config)

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
                logits[row, real] = next_logits(self.parts, weights, ids[real])
            else:
                logits[row] = next_logits(
                    self.parts, weights, ids, encoder_outputs[0][row, :, 0][real]
                )
        return CausalLMOutput(logits=logits)


class _Source:
    """An encoder that hands the source tokens through."""

    def forward(self, input_ids, **kwargs):
        return BaseModelOutput(last_hidden_state=input_ids[..., None])

    __call__ = forward
