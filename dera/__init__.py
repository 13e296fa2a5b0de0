"""Decoding-time Realignment: one aligned model, every KL strength, no retraining.

Names are loaded when they are first used, so that `dera --help` does not wait for torch and transformers.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dera.anchors import AnchorSamples, sample_anchors
    from dera.chat import ChatTokenizer
    from dera.curve import Curve, lam_curve, reweight, reweighted_kl, sample_covering
    from dera.decoding import Completions, sample_completions
    from dera.estimators import approximation_gap
    from dera.gap import Gap, diagnose
    from dera.mixing import log_normalizers, mix_logits
    from dera.mixture import Particles, sample_mixture
    from dera.model import RealignedModel
    from dera.scoring import SequenceScores, log_probabilities, sample_and_score, score_completions
    from dera.speculative import Speculation
    from dera.tuning import Tuning, tune
    from dera.weights import lam_from_beta, linear_schedule

__version__ = "0.1.0"

_MODULES = {
    "AnchorSamples": "anchors",
    "approximation_gap": "estimators",
    "ChatTokenizer": "chat",
    "Completions": "decoding",
    "Curve": "curve",
    "diagnose": "gap",
    "Gap": "gap",
    "lam_curve": "curve",
    "lam_from_beta": "weights",
    "linear_schedule": "weights",
    "log_normalizers": "mixing",
    "log_probabilities": "scoring",
    "mix_logits": "mixing",
    "Particles": "mixture",
    "RealignedModel": "model",
    "reweight": "curve",
    "reweighted_kl": "curve",
    "sample_anchors": "anchors",
    "sample_and_score": "scoring",
    "sample_completions": "decoding",
    "sample_covering": "curve",
    "sample_mixture": "mixture",
    "score_completions": "scoring",
    "SequenceScores": "scoring",
    "Speculation": "speculative",
    "tune": "tuning",
    "Tuning": "tuning",
}
__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'dera' has no attribute {name!r}")
    return getattr(import_module(f"dera.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])
