"""What a map looks like, wherever it is drawn: colors and scale. It imports no torch."""

from heatproof.drawing.colormaps import colored, table
from heatproof.drawing.scale import Flat, flat, scale_of

__all__ = ["Flat", "colored", "flat", "scale_of", "table"]
