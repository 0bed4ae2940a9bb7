"""Checks: what turns attributions into evidence about them."""

from typing import Any

from heatproof.checks.base import CHECKS, TRAINED, Block, Boxes, Check, Maps, Scores, State, Study
from heatproof.checks.blurred_patch import BlurredPatch
from heatproof.checks.bottleneck_ledger import BottleneckLedger
from heatproof.checks.bounding_box import BoundingBox
from heatproof.checks.calibration import Calibration
from heatproof.checks.completeness import Completeness
from heatproof.checks.complexity import Complexity
from heatproof.checks.data_randomization import DataRandomization
from heatproof.checks.degradation import Degradation
from heatproof.checks.efficient_parameter_randomization import EfficientParameterRandomization
from heatproof.checks.input_controls import InputControls
from heatproof.checks.method_agreement import MethodAgreement
from heatproof.checks.network_structure import NetworkStructure
from heatproof.checks.parameter_randomization import ParameterRandomization
from heatproof.checks.sensitivity_n import SensitivityN
from heatproof.checks.steadiness import Steadiness


def names() -> list[str]:
    """Every registered check name."""
    return CHECKS.names()


def get(name: str, **fields: Any) -> Check:
    """The check registered under `name` with its default settings, or with the given fields instead."""
    return CHECKS.get(name, **fields)


__all__ = [
    "CHECKS",
    "TRAINED",
    "Block",
    "BlurredPatch",
    "BottleneckLedger",
    "BoundingBox",
    "Boxes",
    "Calibration",
    "Check",
    "Completeness",
    "Complexity",
    "DataRandomization",
    "Degradation",
    "EfficientParameterRandomization",
    "InputControls",
    "Maps",
    "MethodAgreement",
    "NetworkStructure",
    "ParameterRandomization",
    "Scores",
    "SensitivityN",
    "State",
    "Steadiness",
    "Study",
    "get",
    "names",
]
