"""Two maps of colors: blue through near-white to red for signed values, white to violet for others.

Both are drawn in OKLab, where equal steps look equal: lightness falls in equal steps from zero outwards, the same on
both sides, so that what is as strong looks as strong and a print in grey still says how much. Blue against red is told
apart with every common kind of color vision. Chroma grows with the distance and shrinks where a screen has none left.

Source: Ottosson 2020, "A perceptual color space for image processing" (OKLab).
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bytes = NDArray[np.uint8]
MIDDLE, END = 0.97, 0.32  # lightness of zero, and of the largest value
BLUE, RED, VIOLET = 255.0, 27.0, 305.0  # hues, in degrees
CHROMA = 0.17
_LMS = np.array([[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728], [1, -0.0894841775, -1.2914855480]])
_RGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)


@cache
def table(*, signed: bool) -> Bytes:
    """256 colors (256, 3). Signed: 1 … 255 around zero at 128 (0 is as 1); otherwise from zero at 0."""
    at = np.clip((np.arange(256) - 128) / 127, -1, 1) if signed else np.arange(256) / 255
    hue = np.where(at < 0, BLUE, RED) if signed else np.full(256, VIOLET)
    colors = _colors(np.abs(at), hue)
    colors.flags.writeable = False
    return colors


def colored(level: Bytes, *, signed: bool) -> Bytes:
    """Grey levels (H, W) as colors (H, W, 3)."""
    found: Bytes = table(signed=signed)[level]
    return found


def _colors(strength: Floats, hue: Floats) -> Bytes:
    lightness = MIDDLE + (END - MIDDLE) * strength
    chroma = np.minimum(CHROMA, 0.42 * strength)
    low, high = np.zeros_like(chroma), chroma.copy()
    for _ in range(24):  # the most chroma that a screen shows at this lightness and hue
        middle = (low + high) / 2
        fits = _in_gamut(_linear(lightness, middle, hue))
        low, high = np.where(fits, middle, low), np.where(fits, high, middle)
    whole = _in_gamut(_linear(lightness, chroma, hue))
    linear = np.clip(_linear(lightness, np.where(whole, chroma, low), hue), 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    found: Bytes = np.rint(255 * encoded).astype(np.uint8)
    return found


def _linear(lightness: Floats, chroma: Floats, hue: Floats) -> Floats:
    """Linear sRGB (K, 3) of OKLCh."""
    angle = np.deg2rad(hue)
    lab = np.stack([lightness, chroma * np.cos(angle), chroma * np.sin(angle)], axis=1)
    found: Floats = (lab @ _LMS.T) ** 3 @ _RGB.T
    return found


def _in_gamut(linear: Floats) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = np.all((linear >= -1e-6) & (linear <= 1 + 1e-6), axis=1)
    return found
