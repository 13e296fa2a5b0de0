"""Decoding-time Realignment: one aligned model, every KL strength, no retraining."""

from dera.anchors import AnchorSamples, sample_anchors
from dera.curve import Curve, lam_curve, reweight, reweighted_kl, sample_covering
from dera.decoding import Completions, sample_completions
from dera.gap import Gap, approximation_gap, diagnose
from dera.mixing import log_normalizers, mix_logits
from dera.mixture import Particles, sample_mixture
from dera.model import RealignedModel
from dera.scoring import SequenceScores, log_probabilities, sample_and_score, score_completions
from dera.tuning import Tuning, tune
from dera.weights import lam_from_beta, linear_schedule

__version__ = "0.1.0"
__all__ = [
    "AnchorSamples",
    "Completions",
    "Curve",
    "Gap",
    "Particles",
    "RealignedModel",
    "SequenceScores",
    "Tuning",
    "approximation_gap",
    "diagnose",
    "lam_curve",
    "lam_from_beta",
    "linear_schedule",
    "log_normalizers",
    "log_probabilities",
    "mix_logits",
    "reweight",
    "reweighted_kl",
    "sample_and_score",
    "sample_anchors",
    "sample_completions",
    "sample_covering",
    "sample_mixture",
    "score_completions",
    "tune",
]
