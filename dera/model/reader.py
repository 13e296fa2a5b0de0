"""Running the parts of a realigned model: each by itself, or all in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from dera.mixing import parts_with_share
from dera.model.cache import RealignedCache
from dera.model.inputs import PartInputs
from dera.model.modules import Structure, lock_of
from dera.model.parts import OFF, Part
from dera.one_pass.conditions import are_one_decoder, can_run_in_one_pass
from dera.one_pass.one_pass import OnePass


class PartsReader:
    """Chooses the parts that a call needs, and runs them.

    Attributes:
        parts: the reference, then the aligned models.
    """

    def __init__(self, parts: Sequence[Part]):
        self.parts = list(parts)
        self._structure: Structure | None = None
        self._one_pass: OnePass | None = None
        if are_one_decoder(parts):
            self._look_again()

    @property
    def one_pass(self) -> OnePass | None:
        """What runs the parts in one pass; None where they are not one base with adapters.

        It is made again after adapters were added, deleted, loaded or unloaded.
        """
        if self._structure is not None and not self._structure.is_current():
            with lock_of(self.parts[0].base):
                if not self._structure.is_current():
                    self._look_again()
        return self._one_pass

    def _look_again(self) -> None:
        """Find out whether the parts can run in one pass, as the PEFT model is now."""
        structure = Structure(self.parts[0].base)
        self._one_pass = OnePass(self.parts) if can_run_in_one_pass(self.parts) else None
        # This comes last: until then calls in other threads see the old structure, and wait.
        self._structure = structure

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
        self,
        run: Sequence[bool],
        inputs: PartInputs,
        cache: RealignedCache | None,
        training: bool,
        outputs: dict[int, Any] | None = None,
    ) -> dict[int, Tensor]:
        """Run parts and return the logits of each, by its index.

        Args:
            run: for each part whether it runs.
            inputs: what the parts are called with.
            cache: the cache of this call.
            training: whether the model is in training mode. One pass is then not used, and every
                part is in the mode that its own module is in.
            outputs: if it is given, the whole output of each part is put there, by its index. One
                pass has only logits, and is then not used.

        Raises:
            ValueError: if an adapter is gone, or has changed since the cache was begun; or if
                `outputs` is given, and one pass has filled the cache.
        """
        # Run the parts in one pass where that is possible.
        indices = [index for index, runs in enumerate(run) if runs]
        one_pass = self._one_pass_for(indices, cache, training or outputs is not None)
        if one_pass is not None and outputs is not None:
            raise ValueError(
                "hidden states and attentions must be asked for from the first call with a cache: "
                "begin past_key_values with the same arguments"
            )
        caches = [None] * len(run) if cache is None else cache.parts
        if one_pass is not None:
            shared = self.parts[0].known_of(inputs.shared)
            of_parts = one_pass(indices, **shared, past_key_values=caches[indices[0]])
            return dict(zip(indices, of_parts, strict=True))

        # Otherwise call them one after another.
        logits = {}
        for index in indices:
            part = self.parts[index]
            with part.adapted(evaluates=not training):
                output = part.run(**inputs.of_part(index), past_key_values=caches[index])
            logits[index] = output.logits
            if outputs is not None:
                outputs[index] = output
        return logits

    def _one_pass_for(
        self, indices: list[int], cache: RealignedCache | None, training: bool
    ) -> OnePass | None:
        """Return what runs these parts in one pass; None where each runs by itself.

        The empty caches of the parts are then replaced by a shared one. An adapter that runs alone
        is left to PEFT, so that its logits are the adapted model's bit for bit.
        """
        one_pass = self.one_pass
        if cache is not None and cache.get_seq_length():
            return that_began(cache, one_pass) if cache.is_one_pass else None
        adapter_alone = len(indices) == 1 and self.parts[indices[0]].adapter != OFF
        if one_pass is None or adapter_alone or training or not one_pass.ready:
            return None
        if cache is not None and not cache.share(indices, one_pass):
            return None
        return one_pass


def that_began(cache: RealignedCache, one_pass: OnePass | None) -> OnePass:
    """Return the one pass of a model, which must be the one that began this cache.

    Raises:
        ValueError: if it is not, or if an adapter was merged meanwhile.
    """
    begun: Any = cache.filled[0]
    if one_pass is None or one_pass.number != begun.maker or not one_pass.ready:
        raise ValueError(
            "the adapters of the PEFT model were changed after past_key_values was begun: "
            "read the text again without past_key_values"
        )
    return one_pass
