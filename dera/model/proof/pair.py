"""All that a realigned model proves of itself when it is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dera.model.parts import OFF
from dera.model.proof.aliases import check_aliases
from dera.model.proof.kinds import check_kinds_in_memory
from dera.model.proof.reading import prove_by_reading
from dera.model.proof.tokens import check_end_tokens, warn_of_used_rows

if TYPE_CHECKING:
    from dera.model.realigned import RealignedModel


def prove(model: RealignedModel, tokenizer: Any = None) -> None:
    """Refuse a realigned model whose parts are not what they are taken for.

    Args:
        model: the realigned model.
        tokenizer: the reference's tokenizer, if there is one.

    Raises:
        ValueError: naming the part, the cause, and a remedy.
    """
    keeps_base = model.parts[0].adapter == OFF
    for module in {id(part.module): part.module for part in model.parts}.values():
        configs = getattr(module, "peft_config", None)
        if configs:
            check_kinds_in_memory(configs, module.get_base_model(), keeps_base)
    check_aliases(model.parts)
    check_end_tokens(model, tokenizer)
    alone = prove_by_reading(model)
    warn_of_used_rows(model, alone)
