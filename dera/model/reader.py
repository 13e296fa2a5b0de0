"""Running the parts of a realigned model: each by itself, or all in one pass."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from dera.mixing import parts_with_share
from dera.model.cache import RealignedCache
from dera.model.inputs import PartInputs
from dera.model.parts import OFF, Part
from dera.one_pass.conditions import can_run_in_one_pass
from dera.one_pass.one_pass import OnePass


class PartsReader:
    """Chooses the parts that a call needs, and runs them.

    Attributes:
        parts: the reference, then the aligned models.
        one_pass: what runs the parts in one pass; None where they are not one base with adapters.
    """

    def __init__(self, parts: Sequence[Part]):
        self.parts = list(parts)
        self.one_pass = OnePass(parts) if can_run_in_one_pass(parts) else None

    def parts_to_run(
        self, weights: Tensor, run_all: bool, cache: RealignedCache | None
    ) -> list[bool]:
        """Return for each part whether it runs, and drop the empty caches of those that do not.

        Args:
            weights: the mixing weights, as `as_lam` returns them.
            run_all: run the parts without a share in the mixture too.
            cache: the cache of this call.

        Raises:
            ValueError: if a part is needed that was not run for the tokens in the cache.
        """
        needed = [True] * len(self.parts) if run_all else parts_with_share(weights)
        return needed if cache is None else cache.run_only(needed)

    def read(
        self, run: Sequence[bool], inputs: PartInputs, cache: RealignedCache | None, training: bool
    ) -> dict[int, Tensor]:
        """Run parts and return the logits of each, by its index.

        Args:
            run: for each part whether it runs.
            inputs: what the parts are called with.
            cache: the cache of this call.
            training: whether the model is in training mode, in which one pass is not used.
        """
        # Run the parts in one pass where that is possible.
        indices = [index for index, runs in enumerate(run) if runs]
        one_pass = self._one_pass_for(indices, cache, training)
        caches = [None] * len(run) if cache is None else cache.parts
        if one_pass is not None:
            shared = self.parts[0].known_of(inputs.shared)
            outputs = one_pass(indices, **shared, past_key_values=caches[indices[0]])
            return dict(zip(indices, outputs, strict=True))

        # Otherwise call them one after another.
        logits = {}
        for index in indices:
            part = self.parts[index]
            output = part(**inputs.of_part(index), past_key_values=caches[index])
            logits[index] = output.logits
        return logits

    def _one_pass_for(
        self, indices: list[int], cache: RealignedCache | None, training: bool
    ) -> OnePass | None:
        """Return what runs these parts in one pass; None where each runs by itself.

        The empty caches of the parts are then replaced by a shared one. An adapter that runs alone
        is left to PEFT, so that its logits are the adapted model's bit for bit.
        """
        if cache is not None and cache.get_seq_length():
            return self.one_pass if cache.is_one_pass else None
        adapter_alone = len(indices) == 1 and self.parts[indices[0]].adapter != OFF
        if self.one_pass is None or adapter_alone or training or not self.one_pass.ready:
            return None
        if cache is not None:
            shared = self.one_pass.empty_cache(len(indices))
            if not cache.share(indices, shared):
                return None
        return self.one_pass
