"""Decoding-time Realignment: one aligned model, every KL strength, no retraining.

A name is loaded when it is first used, so `dera --help` does not wait for torch and transformers.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dera.chat import ChatTokenizer
    from dera.decoding import Completions, sample_completions
    from dera.estimators import approximation_gap
    from dera.exact_mixture.gap import Gap, diagnose
    from dera.exact_mixture.particles import Particles, sample_mixture
    from dera.lam_curve.curve import Curve, lam_curve, reweight, reweighted_kl, sample_covering
    from dera.lam_curve.sampled_lams import LamSamples, sample_at_lams
    from dera.lam_curve.tuning import Tuning, tune
    from dera.mixing import log_normalizers, mix_logits
    from dera.model.realigned import RealignedModel
    from dera.scoring import SequenceScores, log_probabilities, sample_and_score, score_completions
    from dera.speculative.loop import Speculation
    from dera.weights import lam_from_beta, linear_schedule

__version__ = "0.1.0"

#: The module of each public name, without the "dera." before it.
_MODULES = {
    "approximation_gap": "estimators",
    "ChatTokenizer": "chat",
    "Completions": "decoding",
    "Curve": "lam_curve.curve",
    "diagnose": "exact_mixture.gap",
    "Gap": "exact_mixture.gap",
    "lam_curve": "lam_curve.curve",
    "lam_from_beta": "weights",
    "LamSamples": "lam_curve.sampled_lams",
    "linear_schedule": "weights",
    "log_normalizers": "mixing",
    "log_probabilities": "scoring",
    "mix_logits": "mixing",
    "Particles": "exact_mixture.particles",
    "RealignedModel": "model.realigned",
    "reweight": "lam_curve.curve",
    "reweighted_kl": "lam_curve.curve",
    "sample_and_score": "scoring",
    "sample_at_lams": "lam_curve.sampled_lams",
    "sample_completions": "decoding",
    "sample_covering": "lam_curve.curve",
    "sample_mixture": "exact_mixture.particles",
    "score_completions": "scoring",
    "SequenceScores": "scoring",
    "Speculation": "speculative.loop",
    "tune": "lam_curve.tuning",
    "Tuning": "lam_curve.tuning",
}
__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'dera' has no attribute {name!r}")
    return getattr(import_module(f"dera.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])
