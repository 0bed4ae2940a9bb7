"""What a run kept for showing: maps, inputs and what is known of those samples, read once for everything drawn."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from heatproof.runs import read_maps, read_samples

Maps = Mapping[tuple[str, str, str], NDArray[np.float32]]


class Shown(NamedTuple):
    """Maps by (state, method, sample), inputs by name, and each sample's facts by its id."""

    maps: Maps
    inputs: Mapping[str, NDArray[Any]]
    samples: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, run: Path, manifest: Mapping[str, Any]) -> "Shown":
        """Those of a run."""
        maps, inputs = read_maps(run)
        return cls(maps, inputs, {sample["id"]: sample for sample in read_samples(run, manifest["shown"])})
