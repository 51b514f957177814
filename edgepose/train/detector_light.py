"""Light and cameras: what the same picture looks like dark, back-lit, half in shadow, blurred."""

from __future__ import annotations

import cv2
import numpy as np

from edgepose.types import Float


def tinted(levels: Float, rng: np.random.Generator) -> Float:
    """Change contrast, brightness, saturation and the balance of the channels of (3, H, W)."""
    grey = levels.mean(0, keepdims=True)
    out = grey + (levels - grey) * np.float32(rng.uniform(0.5, 1.4))
    gain = (np.exp(rng.normal(0, 0.2)) * np.exp(rng.normal(0, 0.06, (3, 1, 1)))).astype(np.float32)
    middle = np.float32(grey.mean())
    return np.asarray((out - middle) * gain + middle + np.float32(rng.normal(0, 25)), np.float32)


def relit(levels: Float, persons: Float, rng: np.random.Generator) -> Float:
    """A picture (3, H, W) of 8-bit levels in other light and by another camera.

    ``persons`` (n, 4) pixels: in one of eight pictures they stand against the light.
    """
    if rng.random() < 0.55:
        levels = tinted(levels, rng)
    levels = np.clip(levels, 0, 255)
    if rng.random() < 0.12 and len(persons):
        levels = _back_lit(levels, persons, rng)
    chance = rng.random()
    if chance < 0.16:
        levels = _dark(levels, rng)
    elif chance < 0.26:
        levels = _shaded(levels, rng)
    if rng.random() < 0.08:
        levels = np.broadcast_to(levels.mean(0, keepdims=True), levels.shape)
    chance = rng.random()
    if chance < 0.12:
        image = np.ascontiguousarray(levels.transpose(1, 2, 0))
        blurred = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.4))
        levels = np.asarray(blurred, np.float32).transpose(2, 0, 1)
    elif chance < 0.24:
        levels = levels + _noise(levels.shape, rng.uniform(2, 12), rng)
    return np.ascontiguousarray(np.clip(levels, 0, 255), np.float32)


def _noise(shape: tuple[int, ...], deviation: float, rng: np.random.Generator) -> Float:
    return np.asarray(rng.standard_normal(shape, np.float32) * np.float32(deviation), np.float32)


def _dark(levels: Float, rng: np.random.Generator) -> Float:
    gamma, gain = np.float32(rng.uniform(1.0, 2.2)), np.float32(rng.uniform(0.4, 1.0))
    dark = 255 * (levels / 255) ** gamma * gain
    if rng.random() < 0.6:
        dark = dark + _noise(levels.shape, rng.uniform(1, 9), rng)
    return np.asarray(dark, np.float32)


def _back_lit(levels: Float, persons: Float, rng: np.random.Generator) -> Float:
    """Persons, and the softly cut surroundings of them, go dark; the rest goes bright."""
    mask = np.zeros(levels.shape[1:], np.float32)
    for x0, y0, x1, y1 in persons.tolist():
        centre = int((x0 + x1) / 2), int((y0 + y1) / 2)
        axes = max(1, int(0.55 * (x1 - x0))), max(1, int(0.55 * (y1 - y0)))
        cv2.ellipse(mask, centre, axes, 0, 0, 360, (1.0,), -1)
    soft = 1 + 0.06 * float((persons[:, 2:] - persons[:, :2]).max(1).mean())
    mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), soft), np.float32)
    dark, lift = np.float32(rng.uniform(0.35, 0.75)), np.float32(rng.uniform(0, 70))
    lit = levels * (1 - mask * (1 - dark)) + (1 - mask) * lift
    return np.asarray(np.clip(lit, 0, 255), np.float32)


def _shaded(levels: Float, rng: np.random.Generator) -> Float:
    """One side of a line across the picture lies in shadow."""
    height, width = levels.shape[1:]
    angle = rng.uniform(0, 2 * np.pi)
    x = np.arange(width, dtype=np.float32) - width * np.float32(rng.uniform(0.2, 0.8))
    y = np.arange(height, dtype=np.float32) - height * np.float32(rng.uniform(0.2, 0.8))
    side = x[None] * np.float32(np.cos(angle)) + y[:, None] * np.float32(np.sin(angle))
    edge = 0.5 + 0.5 * np.tanh(side / np.float32(2 * rng.uniform(2, 40)))
    shadow = np.float32(rng.uniform(0.2, 0.6))
    return np.asarray(levels * (shadow + (1 - shadow) * edge), np.float32)


def degraded(canvas: Float, rng: np.random.Generator) -> Float:
    """A square canvas (3, S, S) as cameras show it: colour, blur, noise and compression."""
    size = canvas.shape[-1]
    if rng.random() < 0.8:
        canvas = tinted(canvas, rng)
    if rng.random() < 0.1:
        canvas = np.broadcast_to(canvas.mean(0, keepdims=True), canvas.shape)
    if rng.random() < 0.2:
        image = np.ascontiguousarray(canvas.transpose(1, 2, 0))
        if rng.random() < 0.5:
            image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.5))
        else:
            side = int(size * rng.uniform(0.4, 0.8))
            small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
            image = cv2.resize(small, (size, size), interpolation=cv2.INTER_LINEAR)
        canvas = image.transpose(2, 0, 1)
    if rng.random() < 0.2:
        noise = rng.standard_normal(canvas.shape, np.float32)
        canvas = canvas + noise * np.float32(rng.uniform(2, 14))
    canvas = np.clip(canvas, 0, 255)
    if rng.random() < 0.12:
        image = np.ascontiguousarray(canvas.transpose(1, 2, 0)).astype(np.uint8)
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(20, 80))]
        encoded = cv2.imencode(".jpg", image, quality)[1]
        canvas = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR)).transpose(2, 0, 1)
    return np.ascontiguousarray(canvas, np.float32)
