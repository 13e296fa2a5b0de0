"""A weighted mean whose error is reduced by what is known about the weights.

The mean weight toward any lam is 1 in expectation, so weights less 1 are control variates:
functions whose mean is known to be 0. Subtracting what they explain of the estimate leaves its
expectation as it is and makes its variance smaller. Owen and Zhou (2000) combine control variates
with the balance heuristic in this way.
"""

from __future__ import annotations

import numpy as np

from dera.estimators import Array

#: A weight that varies less than this is 1 up to rounding, so that it is no use as a control
#: variate.
MIN_DEVIATION = 1e-4

#: Each coefficient is fitted from at least this many degrees of freedom.
DEGREES_OF_FREEDOM = 10

#: Singular values below this share of the largest count as 0 when coefficients are fitted.
RELATIVE_RANK = 1e-6


def controlled_means(values: Array, log_weights: Array, known_weights: Array) -> Array:
    """Return each prompt's weighted mean of `values`, corrected by control variates.

    The correction of one prompt is `sum_k c_k * mean(w_k - 1)`. The weights `w_k` are those toward
    the target lam and toward all sampled lams except the last. For every completion the weights
    toward all J sampled lams sum to J, so the last one adds nothing new. The coefficients `c_k` are
    fitted by least squares to the completions of all prompts.

    Args:
        values: the metric of each completion, shape (P, J, S).
        log_weights: log weights toward the target lam, same shape.
        known_weights: weights toward the sampled lams except the last, shape (J - 1, P, J, S).

    Returns:
        shape (P,).
    """
    # The plain weighted mean. A completion of weight 0 cannot occur at lam and does not count, even
    # if its value is infinite.
    weights = np.exp(log_weights)
    with np.errstate(invalid="ignore"):  # 0 * inf
        weighted = np.where(weights == 0, 0, weights * values)
    plain = weighted.mean((1, 2))

    # The correction, fitted to what varies between the samples of one prompt and sampled lam.
    controls = _usable(np.concatenate([weights[None], known_weights]) - 1)
    if not len(controls) or not np.isfinite(weighted).all():
        return plain
    coefficients = np.linalg.lstsq(
        _deviations(controls).T, _deviations(weighted)[0], rcond=RELATIVE_RANK
    )[0]
    return plain - coefficients @ controls.mean((2, 3))


def _usable(controls: Array) -> Array:
    """Return the control variates that vary, and at most as many as can be fitted.

    Args:
        controls: shape (K, P, J, S).
    """
    _, prompts, sampled_lams, samples = controls.shape
    controls = controls[_deviations(controls).std(-1) > MIN_DEVIATION]
    degrees_of_freedom = prompts * sampled_lams * (samples - 1)
    return controls[: degrees_of_freedom // DEGREES_OF_FREEDOM]


def _deviations(numbers: Array) -> Array:
    """Return deviations from the mean over the samples of each prompt and sampled lam.

    Args:
        numbers: shape (P, J, S), or (K, P, J, S).

    Returns:
        shape (1, P * J * S), or (K, P * J * S).
    """
    centred = numbers - numbers.mean(-1, keepdims=True)
    return centred.reshape(-1, np.prod(numbers.shape[-3:], dtype=int))
