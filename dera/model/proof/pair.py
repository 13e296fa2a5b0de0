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
    for part in model.parts:
        # A base that PEFT was given has such configurations too, and is no PEFT model.
        if hasattr(part.module, "disable_adapter"):
            check_kinds_in_memory(part.module.peft_config, part.base, keeps_base)
    check_aliases(model.parts)
    check_end_tokens(model, tokenizer)
    alone = prove_by_reading(model)
    warn_of_used_rows(model, alone)
