"""Loading a reference and an aligned model that belong together."""

from __future__ import annotations

from os import PathLike
from typing import Any

from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers.utils.peft_utils import find_adapter_config_file


def load_pair(
    reference: str | PathLike, aligned: str | PathLike, merge_adapter: bool = False, **kwargs: Any
) -> tuple[PreTrainedModel | None, PreTrainedModel | PeftModel]:
    """Load what `RealignedModel` takes; the first is None when `aligned` is an adapter on `reference`, unless it is merged.

    Raises:
        ValueError: if `trust_remote_code` is asked for, or the two have different tokenizers.
        OSError: if one of them is neither a folder with a model nor a Hub id.
    """
    if kwargs.pop("trust_remote_code", False):
        raise ValueError("trust_remote_code is not supported: models run from transformers' own code only")
    reference, aligned = str(reference), str(aligned)
    kwargs = {"use_safetensors": True, **kwargs}
    if find_adapter_config_file(aligned) is not None:
        base = AutoModelForCausalLM.from_pretrained(reference, **kwargs)
        adapted = PeftModel.from_pretrained(base, aligned, use_safetensors=True)
        if not merge_adapter:
            return None, adapted
        return AutoModelForCausalLM.from_pretrained(reference, **kwargs), adapted.merge_and_unload()
    check_same_tokenizer(reference, aligned)
    return tuple(AutoModelForCausalLM.from_pretrained(name, **kwargs) for name in (reference, aligned))  # type: ignore[return-value]


def check_same_tokenizer(reference: str, aligned: str) -> None:
    """Refuse a pair whose tokenizers map text to different ids: their logits are about different things."""
    vocabularies = [AutoTokenizer.from_pretrained(name).get_vocab() for name in (reference, aligned)]
    if vocabularies[0] != vocabularies[1]:
        differing = sorted(set(vocabularies[0].items()) ^ set(vocabularies[1].items()))
        raise ValueError(
            f"{reference} and {aligned} have different tokenizers ({len(vocabularies[0])} and {len(vocabularies[1])} tokens, "
            f"{len(differing)} entries differ, for example {differing[0]}): mixing their logits has no meaning"
        )
