"""Attribution methods: small frozen dataclasses, called with a model, inputs and targets."""

from typing import Any

from heatproof.methods.backward import Gradient, GradientXInput, Saliency
from heatproof.methods.base import METHODS, Explanation, Linearizable, Linearization, Method
from heatproof.methods.bottleneck import PerSampleBottleneck
from heatproof.methods.cam import GradCAM, GuidedGradCAM
from heatproof.methods.channels import ChannelNorm
from heatproof.methods.competition import Competitive
from heatproof.methods.controls import EdgeDetector, InputXEdges, InputXRandomGradient, Random
from heatproof.methods.deeplift import DeepLIFT
from heatproof.methods.fitted import Fitted, FittedMethod, fit
from heatproof.methods.given import Given
from heatproof.methods.guided import BetaSmooth, Deconvnet, GuidedBackprop
from heatproof.methods.lrp import LRP, DeepTaylor
from heatproof.methods.noise import SmoothGrad, VarGrad
from heatproof.methods.occlusion import Occlusion
from heatproof.methods.path import IntegratedGradients
from heatproof.methods.patterns import PatternAttribution, PatternNet
from heatproof.methods.perturbation import MeaningfulPerturbation
from heatproof.methods.readout import ReadoutBottleneck
from heatproof.methods.references import ExpectedGradients, OverBaselines


def names() -> list[str]:
    """Every registered method name."""
    return METHODS.names()


def get(name: str, **fields: Any) -> Method:
    """The method registered under `name` with its default hyper-parameters, or with the given fields instead."""
    return METHODS.get(name, **fields)


__all__ = [
    "LRP",
    "BetaSmooth",
    "ChannelNorm",
    "Competitive",
    "Deconvnet",
    "DeepLIFT",
    "DeepTaylor",
    "EdgeDetector",
    "ExpectedGradients",
    "Explanation",
    "Fitted",
    "FittedMethod",
    "Given",
    "GradCAM",
    "Gradient",
    "GradientXInput",
    "GuidedBackprop",
    "GuidedGradCAM",
    "InputXEdges",
    "InputXRandomGradient",
    "IntegratedGradients",
    "Linearizable",
    "Linearization",
    "MeaningfulPerturbation",
    "Method",
    "Occlusion",
    "OverBaselines",
    "PatternAttribution",
    "PatternNet",
    "PerSampleBottleneck",
    "Random",
    "ReadoutBottleneck",
    "Saliency",
    "SmoothGrad",
    "VarGrad",
    "fit",
    "get",
    "names",
]
