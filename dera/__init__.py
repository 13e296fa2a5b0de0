"""Decoding-time Realignment: one aligned model, every KL strength, no retraining.

A name is loaded when it is first used, so `dera --help` does not wait for torch and transformers.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dera.chat import ChatTokenizer
    from dera.curve.reweighting import Curve, lam_curve, reweight, reweighted_kl
    from dera.curve.sampled_lams import LamSamples
    from dera.curve.sampling import sample_at_lams, sample_covering
    from dera.curve.tuning import Tuning, tune
    from dera.decoding import Completions, sample_completions
    from dera.estimators import approximation_gap
    from dera.exact_mixture.gap import Gap, diagnose
    from dera.exact_mixture.particles import Particles, sample_mixture
    from dera.mixing import log_normalizers, mix_logits
    from dera.model.realigned import RealignedModel
    from dera.readings import KlByLam, Readings, read
    from dera.scoring import SequenceScores, log_probabilities, sample_and_score, score_completions
    from dera.speculative.loop import Speculation
    from dera.weights import lam_from_beta, linear_schedule

__version__ = "1.0.0"

#: The module of each public name, without the "dera." before it.
_MODULES = {
    "approximation_gap": "estimators",
    "ChatTokenizer": "chat",
    "Completions": "decoding",
    "Curve": "curve.reweighting",
    "diagnose": "exact_mixture.gap",
    "Gap": "exact_mixture.gap",
    "KlByLam": "readings",
    "lam_curve": "curve.reweighting",
    "lam_from_beta": "weights",
    "LamSamples": "curve.sampled_lams",
    "linear_schedule": "weights",
    "log_normalizers": "mixing",
    "log_probabilities": "scoring",
    "mix_logits": "mixing",
    "Particles": "exact_mixture.particles",
    "read": "readings",
    "Readings": "readings",
    "RealignedModel": "model.realigned",
    "reweight": "curve.reweighting",
    "reweighted_kl": "curve.reweighting",
    "sample_and_score": "scoring",
    "sample_at_lams": "curve.sampling",
    "sample_completions": "decoding",
    "sample_covering": "curve.sampling",
    "sample_mixture": "exact_mixture.particles",
    "score_completions": "scoring",
    "SequenceScores": "scoring",
    "Speculation": "speculative.loop",
    "tune": "curve.tuning",
    "Tuning": "curve.tuning",
}
__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'dera' has no attribute {name!r}")
    return getattr(import_module(f"dera.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])
