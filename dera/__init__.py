"""Decoding-time Realignment: one aligned model, every KL strength, no retraining."""

from dera.decoding import Completions, sample_completions
from dera.mixing import lam_from_beta, log_normalizers, mix_logits
from dera.model import RealignedModel
from dera.scoring import SequenceScores, log_probabilities, sample_and_score, score_completions

__version__ = "0.1.0"
__all__ = [
    "Completions",
    "RealignedModel",
    "SequenceScores",
    "lam_from_beta",
    "log_normalizers",
    "log_probabilities",
    "mix_logits",
    "sample_and_score",
    "sample_completions",
    "score_completions",
]
