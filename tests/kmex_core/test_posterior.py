"""The posterior and its temperature, against loops in plain Python and scipy's optimiser."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from kmex_core.metrics import expected_calibration_error
from kmex_core.networks.types import Embeddings
from kmex_core.prototypes.posterior import calibrated, fit_temperature, posterior
from kmex_core.prototypes.temperature import Temperature, halves_of, temperature_of

CLASS = torch.tensor([0, 0, 1, 2, 2, 2])


def by_hand(scores: list[float], temperature: float) -> list[float]:
    means = []
    for label in range(3):
        of_class = [math.exp(s / temperature) for s, c in zip(scores, CLASS.tolist(), strict=True) if c == label]
        means.append(sum(of_class) / len(of_class))
    return [mean / sum(means) for mean in means]


def test_the_posterior_by_hand() -> None:
    scores = -torch.rand(7, 6, dtype=torch.float64) * 9
    for temperature in (0.3, 2.0, 40.0):
        p = posterior(scores, CLASS, 3, temperature)
        np.testing.assert_allclose(p, [by_hand(row, temperature) for row in scores.tolist()], rtol=1e-9)
    each = torch.tensor([0.3, 2.0, 40.0, 1.0, 1.0, 1.0, 5.0], dtype=torch.float64)
    rows = [by_hand(row, t) for row, t in zip(scores.tolist(), each.tolist(), strict=True)]
    np.testing.assert_allclose(posterior(scores, CLASS, 3, each[:, None, None]), rows, rtol=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.floats(0.05, 50), st.floats(-1e3, 1e3), st.integers(0, 99))
def test_it_is_a_distribution_that_a_common_shift_does_not_change(temperature: float, shift: float, seed: int) -> None:
    scores = -torch.rand(5, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 1e4
    p = posterior(scores, CLASS, 3, temperature)
    assert torch.isfinite(p).all()
    torch.testing.assert_close(p.sum(1), torch.ones(5, dtype=torch.float64))
    torch.testing.assert_close(posterior(scores + shift, CLASS, 3, temperature), p, rtol=1e-6, atol=1e-9)
    # temperature and scores have the same unit
    torch.testing.assert_close(posterior(scores * 7, CLASS, 3, temperature * 7), p, rtol=1e-6, atol=1e-9)


def test_a_second_copy_of_a_prototype_changes_nothing() -> None:
    scores = -torch.rand(4, 2) * 5
    doubled = torch.cat([scores, scores[:, :1]], 1)
    torch.testing.assert_close(
        posterior(doubled, torch.tensor([0, 1, 0]), 2, 1.5), posterior(scores, torch.tensor([0, 1]), 2, 1.5)
    )


def test_the_temperature_maximises_the_likelihood_of_the_smoothed_labels() -> None:
    random = np.random.default_rng(0)
    scores = -random.random((60, 6)) * 8
    labels = random.integers(0, 3, 60)
    scores[np.arange(60), [CLASS.tolist().index(label) for label in labels]] += 2.0

    def loss(log_t: float) -> float:
        total, most = 0.0, 61 / 62
        for row, label in zip(scores.tolist(), labels.tolist(), strict=True):
            p = by_hand(row, math.exp(log_t))
            total -= sum((most if c == label else (1 - most) / 2) * math.log(p[c]) for c in range(3))
        return total

    expected = math.exp(minimize_scalar(loss, bounds=(-4, 4), method="bounded").x)
    found = fit_temperature(torch.from_numpy(scores), CLASS, torch.from_numpy(labels))
    assert found == pytest.approx(expected, rel=0.01)
    assert fit_temperature(torch.from_numpy(scores * 1000), CLASS, torch.from_numpy(labels)) == pytest.approx(
        expected * 1000, rel=0.01
    )


def test_held_out_images_that_are_all_right_leave_a_temperature_above_zero() -> None:
    labels = torch.arange(30) % 3
    scores = torch.where(labels[:, None] == CLASS, 0.0, -10.0)
    temperature = fit_temperature(scores, CLASS, labels)
    assert 0 < temperature < 100
    assert posterior(scores, CLASS, 3, temperature).amax(1).tolist() == pytest.approx([31 / 32] * 30, abs=2e-3)


def planted(count: int, spread: float) -> Embeddings:
    """Three classes around six points, with known noise: the likelihood's own temperature is 2 · spread²."""
    random = np.random.default_rng(3)
    which = random.integers(0, 6, count)
    z = CENTERS[which] + random.normal(size=(count, 2)) * spread
    return Embeddings(z.astype(np.float32), CLASS.numpy()[which], CLASS.numpy()[which])


CENTERS = np.array([[0, 0], [3, 0], [0, 3], [3, 3], [1.5, 6], [6, 1.5]], dtype=float)


def negative_squares(z: torch.Tensor) -> torch.Tensor:
    return -torch.cdist(z, torch.from_numpy(CENTERS).float()).square()


def test_the_temperature_of_planted_groups_is_found_and_calibrates() -> None:
    test = planted(3000, 1.2)
    temperature = calibrated(negative_squares, CLASS, test)
    assert temperature.value == pytest.approx(2 * 1.2**2, rel=0.15)
    assert (temperature.images, temperature.validation) == (3000, False)
    assert temperature.halves[0] != temperature.halves[1]
    each = torch.from_numpy(temperature.of_test(test.labels)).float()[:, None, None]
    p = posterior(negative_squares(torch.from_numpy(test.z)), CLASS, 3, each).numpy()
    right = p.argmax(1) == test.labels
    assert expected_calibration_error(p.max(1), right) < 0.03
    uncalibrated = posterior(negative_squares(torch.from_numpy(test.z)), CLASS, 3, 0.1).numpy()
    assert expected_calibration_error(uncalibrated.max(1), uncalibrated.argmax(1) == test.labels) > 0.1


def test_each_half_is_judged_by_the_temperature_of_the_other() -> None:
    test = planted(400, 1.2)
    halves = halves_of(test.labels)
    temperature = calibrated(negative_squares, CLASS, test)
    for half in (0, 1):
        rows = torch.from_numpy(np.flatnonzero(halves == half))
        of_half = fit_temperature(
            negative_squares(torch.from_numpy(test.z))[rows], CLASS, torch.from_numpy(test.labels)[rows]
        )
        assert temperature.halves[half] == pytest.approx(of_half)
        assert (temperature.of_test(test.labels)[halves == 1 - half] == temperature.halves[half]).all()
    assert np.array_equal(halves, halves_of(test.labels))
    assert abs(np.bincount(halves, minlength=2) - 200).max() <= 3
    again = temperature_of({"value": 2.0, "halves": [1.0, 3.0], "images": 5, "validation": True})
    assert again == Temperature(2.0, (1.0, 3.0), 5, True)
    assert temperature_of(None) is None


def test_a_validation_split_takes_the_place_of_the_test_split() -> None:
    test, validation = planted(300, 1.2), planted(500, 2.0)
    temperature = calibrated(negative_squares, CLASS, test, validation)
    alone = calibrated(negative_squares, CLASS, validation)
    assert temperature == Temperature(alone.value, (alone.value, alone.value), 500, True)
