"""Colours must be readable in both themes and tell roles apart without full colour vision."""

import re
from itertools import combinations

import numpy as np
import pytest

from quantlib.figures import palette
from quantlib.formats.layout import ROLES as LAYOUT_ROLES

# Machado, Oliveira and Fernandes (2009), full severity, on linear RGB
VISION = {
    "full": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
TOGETHER = (
    ("sign", "exponent", "fraction"),
    ("code", "sub-scale", "sub-minimum", "super-scale", "super-minimum"),
    ("code", "error"),
)
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(colour: str) -> np.ndarray:
    c = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def contrast(a: str, b: str) -> float:
    low, high = sorted(linear(c) @ TO_XYZ[1] for c in (a, b))
    return (high + 0.05) / (low + 0.05)


def lab(rgb: np.ndarray) -> np.ndarray:
    t = TO_XYZ @ np.clip(rgb, 0, 1) / [0.9505, 1, 1.089]
    x, y, z = np.where(t > 0.008856, np.cbrt(t), 7.787 * t + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("role", palette.ROLES.values(), ids=palette.ROLES)
def test_text_in_a_roles_colour_is_readable(role, theme):
    for background in (palette.PAPER[theme], palette.PANEL[theme]):
        assert contrast(role.colour(theme), background) >= 4.5


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("vision", VISION)
def test_roles_that_meet_stay_apart(vision, theme):
    for group in TOGETHER:
        for a, b in combinations(group, 2):
            seen = [lab(np.array(VISION[vision]) @ linear(palette.ROLES[r].colour(theme))) for r in (a, b)]
            assert np.linalg.norm(seen[0] - seen[1]) >= 12, (a, b)


def test_every_role_of_a_layout_has_a_colour():
    assert set(LAYOUT_ROLES) <= set(palette.ROLES)


def test_letters_tell_roles_apart_where_they_meet():
    for group in TOGETHER:
        assert len({palette.ROLES[r].letter for r in group}) == len(group)


def test_style_sheets_use_only_colours_that_the_palette_defines():
    from pages.ui.component import ASSETS

    defined = set(re.findall(r"(--[\w-]+):", palette.css()))
    for sheet in ASSETS.glob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        assert set(re.findall(r"var\((--role-[\w-]+)", text)) <= defined
        for name in palette.ROLES:
            assert sheet.name != "base.css" or f'[data-role="{name}"]' in text
