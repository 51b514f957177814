"""Jitter by hand: rest and motion are told apart, and noise has the acceleration it must have."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgepose.evaluate.motion import accelerations, jitter

FPS = 60.0


def line(frames, speed, noise=0.0, seed=0):
    """One joint at ``speed`` pixels per second, with Gaussian noise: (T, 1, 2)."""
    x = speed * np.arange(frames) / FPS
    places = np.stack((x, np.zeros(frames)), -1)[:, None]
    return places + np.random.default_rng(seed).normal(0, noise, places.shape)


def test_a_line_has_no_acceleration_and_is_at_rest_only_when_slow():
    for speed, rest in ((0.0, True), (40.0, True), (60.0, False)):
        size, still = accelerations(line(60, speed), torso=100.0, fps=FPS)
        assert size.shape == still.shape == (30, 1)
        np.testing.assert_allclose(size, 0, atol=1e-9)
        assert (still == rest).all()


def test_noise_gives_its_second_difference():
    # The second difference of unit noise has variance 6 per axis, its length median √(12 ln 2).
    size, still = accelerations(line(4000, 0.0, noise=1.0), torso=100.0, fps=FPS)
    assert still.all()
    assert np.median(size) == pytest.approx(math.sqrt(12 * math.log(2)) / 100 * FPS**2, rel=0.05)


def test_each_sample_belongs_to_its_frame():
    track = line(61, 0.0)
    track[30] += 10.0
    size, _ = accelerations(track, torso=100.0, fps=FPS)
    assert np.argmax(size[:, 0]) == 30 - 15  # the first sample is frame 15


def test_tracks_are_pooled_and_short_ones_left_out():
    slow, fast = (line(60, speed, noise=1.0) for speed in (0.0, 300.0))
    found = jitter([(slow, 100.0), (fast, 100.0), (fast[:20], 100.0)], FPS)
    assert found.share == pytest.approx(0.5)
    assert found.still == pytest.approx(found.moving, rel=1.0)
    assert math.isnan(jitter([(slow[:10], 100.0)], FPS).still)
    assert math.isnan(jitter([], FPS).share)
