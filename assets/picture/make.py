"""A picture to quantize: three balls on a board, light of a window behind them, traced ray by ray, with some grain.

    python assets/picture/make.py        # writes still_life.png beside this file

Drawn for this project, and under its licence.
"""

from pathlib import Path

import numpy as np

from quantlib.figures.picture import png

WIDE, HIGH = 256, 192
# Each ball: where its middle is, its radius, how bright it is, how much it shines.
BALLS = ((-1.0, 0.8, 3.9, 0.8, 0.85, 0.3), (0.3, 0.5, 3.0, 0.5, 0.2, 0.9), (1.15, 0.95, 4.6, 0.95, 0.5, 0.15))
LAMP = np.array([-4.0, 5.5, -1.0])
LAMP_SIZE, RAYS = 0.9, 24


def still_life() -> np.ndarray:
    """Grey values, uint8 (HIGH, WIDE). The same at every call."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[0 : 2 * HIGH, 0 : 2 * WIDE]
    across, up = (x + 0.5 - WIDE) / WIDE, (HIGH - y - 0.5) / WIDE
    ray = np.stack([0.62 * across, 0.62 * up - 0.13, np.ones_like(across)], -1)
    ray /= np.linalg.norm(ray, axis=-1, keepdims=True)
    light = _traced(np.array([0.0, 1.25, -1.0]), ray, rng)
    light = light.reshape(HIGH, 2, WIDE, 2).mean((1, 3))
    vignette = 1 - 0.28 * ((across**2 + up**2).reshape(HIGH, 2, WIDE, 2).mean((1, 3)))
    shown = np.clip(light * vignette, 0, 1) ** (1 / 1.9) + rng.normal(0, 0.006, light.shape)
    return np.rint(255 * np.clip(shown, 0, 1)).astype(np.uint8)


def _traced(eye: np.ndarray, ray: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Light that comes along each ray (..., 3) to the eye: (...)."""
    far = np.full(ray.shape[:-1], np.inf)
    floor = np.where(ray[..., 1] < -1e-6, -eye[1] / np.minimum(ray[..., 1], -1e-6), np.inf)
    wall = np.where(ray[..., 2] > 0, (9.0 - eye[2]) / np.maximum(ray[..., 2], 1e-6), np.inf)
    nearest, kind = np.minimum(floor, wall), np.where(floor < wall, 0, 1)
    for i, ball in enumerate(BALLS):
        at = _meets(eye, ray, ball)
        kind, nearest = np.where(at < nearest, 2 + i, kind), np.minimum(nearest, at)
    far = eye + ray * nearest[..., None]
    light = np.where(kind == 1, 0.07 + 0.5 * _window(far[..., 0] - 0.25 * far[..., 1], far[..., 1]), 0.0)
    grain = np.sin(14 * far[..., 2] + 2.2 * np.sin(1.1 * far[..., 0]) + 0.8 * np.sin(5 * far[..., 0]))
    board = 0.42 + 0.07 * grain * np.cos(0.7 * far[..., 0])
    up = np.broadcast_to(np.array([0.0, 1.0, 0.0]), far.shape)
    light = np.where(kind == 0, _lit(far, up, board, 0.0, ray, rng), light)
    for i, (cx, cy, cz, radius, bright, shine) in enumerate(BALLS):
        normal = (far - np.array([cx, cy, cz])) / radius
        light = np.where(kind == 2 + i, _lit(far, normal, bright, shine, ray, rng), light)
    return light


def _window(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Light of a window with a cross on the wall, from 0 to 1, with soft edges."""

    def inside(at, low, high):
        return 1 / (1 + np.exp(-18 * (at - low))) / (1 + np.exp(18 * (at - high)))

    bars = (1 - 0.85 * inside(x, 0.45, 0.6)) * (1 - 0.85 * inside(y, 2.05, 2.2))
    return inside(x, -0.9, 1.9) * inside(y, 0.9, 3.4) * bars


def _lit(point, normal, bright, shine: float, ray, rng: np.random.Generator) -> np.ndarray:
    """What a surface sends to the eye: some light from everywhere, the lamp's where it reaches, and its reflection."""
    seen = np.zeros(point.shape[:-1])
    for _ in range(RAYS):
        to = LAMP + rng.normal(0, LAMP_SIZE, 3) - point
        to /= np.linalg.norm(to, axis=-1, keepdims=True)
        hidden = np.zeros(seen.shape, bool)
        for ball in BALLS:
            hidden |= np.isfinite(_meets(point + 1e-3 * normal, to, ball))
        seen += np.where(hidden, 0, np.maximum(0, (to * normal).sum(-1)))
    mirrored = ray - 2 * (ray * normal).sum(-1, keepdims=True) * normal
    to = LAMP - point
    to /= np.linalg.norm(to, axis=-1, keepdims=True)
    gloss = shine * np.maximum(0, (mirrored * to).sum(-1)) ** 90
    return bright * (0.13 + 0.07 * normal[..., 1] + 1.15 * seen / RAYS) + gloss


def _meets(start, ray, ball) -> np.ndarray:
    """How far along each ray the ball is; infinity where it is missed or behind."""
    away = start - np.array(ball[:3])
    half = (away * ray).sum(-1)
    inside = half**2 - (away**2).sum(-1) + ball[3] ** 2
    at = -half - np.sqrt(np.maximum(inside, 0))
    return np.where((inside > 0) & (at > 1e-3), at, np.inf)


if __name__ == "__main__":
    (Path(__file__).parent / "still_life.png").write_bytes(png(still_life()))
