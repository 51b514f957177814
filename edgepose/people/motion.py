"""How a person's box moves: a Kalman filter of constant velocity (OpenCV's)."""

from __future__ import annotations

import cv2
import numpy as np

from edgepose.types import Float

# In person sizes: how exactly a pose tells where its box is, and how persons change their pace.
_NOISE = 0.015
_ACCELERATION = 1.5  # a second, a second
_PACE = 1.0  # a second: what a person whom nobody has seen move may do


class Motion:
    """Centre and velocity of one person, in pixels and seconds."""

    def __init__(self, centre: Float, size: float) -> None:
        """Begin at ``centre`` (2,) with an unknown velocity; ``size`` is the person's, pixels."""
        filter_ = cv2.KalmanFilter(4, 2, 0, cv2.CV_32F)
        filter_.measurementMatrix = np.eye(2, 4, dtype=np.float32)
        filter_.statePost = np.array([*centre, 0, 0], np.float32).reshape(4, 1)
        spread = np.array([_NOISE, _NOISE, _PACE, _PACE], np.float32) * np.float32(size)
        filter_.errorCovPost = np.diag(spread * spread)
        self._filter = filter_

    @property
    def velocity(self) -> Float:
        """(2,) float32, pixels a second."""
        velocity: Float = np.asarray(self._filter.statePost, np.float32)[2:, 0].copy()
        return velocity

    def head(self, velocity: Float) -> None:
        """Take ``velocity`` (2,) for the one to go on with."""
        state = np.asarray(self._filter.statePost, np.float32).copy()
        state[2:, 0] = velocity
        self._filter.statePost = state

    def update(self, centre: Float, passed: float, size: float) -> None:
        """The person is at ``centre`` (2,), ``passed`` > 0 seconds after the last time."""
        t = passed
        step = [[1, 0, t, 0], [0, 1, 0, t], [0, 0, 1, 0], [0, 0, 0, 1]]
        # White noise on the acceleration, integrated once and twice.
        a = (_ACCELERATION * size) ** 2
        p, q, r = a * t**4 / 4, a * t**3 / 2, a * t**2
        push = [[p, 0, q, 0], [0, p, 0, q], [q, 0, r, 0], [0, q, 0, r]]
        n = (_NOISE * size) ** 2
        self._filter.transitionMatrix = np.array(step, np.float32)
        self._filter.processNoiseCov = np.array(push, np.float32)
        self._filter.measurementNoiseCov = np.array([[n, 0], [0, n]], np.float32)
        self._filter.predict()
        self._filter.correct(np.asarray(centre, np.float32).reshape(2, 1))
