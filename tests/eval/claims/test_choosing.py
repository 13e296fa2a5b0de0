"""What a seed measures was chosen by other seeds and on other prompts."""

import numpy as np

from eval.claims.choosing import choose, of_chosen


def test_the_other_seeds_choose_on_the_first_half_of_the_prompts():
    """Candidate 1 is best on the first half for seeds 0 and 1, candidate 0 for seed 2."""
    first = np.zeros((3, 4))
    second = np.zeros((3, 4))
    second[:2, :2] = 1
    second[2, :2] = -0.5
    second[:, 2:] = 99  # the second half has no say
    assert choose([first, second]) == [1, 1, 1]
    second[1, :2] = -5
    assert choose([first, second]) == [0, 1, 0]


def test_what_was_chosen_is_measured_on_the_second_half():
    first = np.arange(8.0).reshape(2, 4)
    second = 10 + first
    measured = of_chosen([first, second], [1, 0])
    np.testing.assert_array_equal(measured, [[12, 13], [6, 7]])


def test_choosing_among_noise_wins_nothing():
    """The best of ten candidates of mean 0 has mean 0 where it is measured.

    The mean of 400 studies is allowed five standard errors. On the prompts that chose it, it is
    far above.
    """
    rng = np.random.default_rng(0)
    means = []
    flattered = []
    for _ in range(400):
        noise = [rng.normal(size=(5, 20)) for _ in range(10)]
        means.append(of_chosen(noise, choose(noise)).mean())
        same = [int(np.argmax([candidate[:, :10].mean() for candidate in noise]))] * 5
        flattered.append(np.mean([noise[k][seed, :10].mean() for seed, k in enumerate(same)]))
    error = np.std(means) / np.sqrt(len(means))
    assert abs(np.mean(means)) < 5 * error
    assert np.mean(flattered) > 20 * error
