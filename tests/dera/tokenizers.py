"""A tokenizer for the tiny models: `<eos>`, `<pad>` and the words w2 to w12, one token each."""

from __future__ import annotations

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tests.dera.architectures import EOS, PAD, VOCABULARY


def word_tokenizer() -> PreTrainedTokenizerFast:
    """Return the tokenizer, which splits at white space."""
    vocabulary = {"<eos>": EOS, "<pad>": PAD, **{f"w{i}": i for i in range(2, VOCABULARY)}}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<eos>", pad_token="<pad>")
