"""The registered methods with settings that small networks need no more of: every pass counts where thousands run."""

from dataclasses import replace

from heatproof.baselines import Blur
from heatproof.methods.base import METHODS, Method
from heatproof.methods.bottleneck import PerSampleBottleneck
from heatproof.methods.noise import SmoothGrad, VarGrad
from heatproof.methods.occlusion import Occlusion
from heatproof.methods.path import IntegratedGradients
from heatproof.methods.perturbation import MeaningfulPerturbation
from heatproof.methods.readout import ReadoutBottleneck
from heatproof.methods.references import ExpectedGradients, OverBaselines


def quick_methods() -> dict[str, Method]:
    """Every registered method by name, with few steps, copies and windows."""
    return {name: quick(METHODS.get(name)) for name in METHODS.names()}


def quick(method: Method) -> Method:
    """The method with fewer steps, copies or windows, where it has such settings."""
    match method:
        case SmoothGrad() | VarGrad():
            inner = quick(method.method) if isinstance(method.method, Method) else method.method
            return replace(method, method=inner, samples=3)
        case OverBaselines():
            return replace(method, method=quick(method.method))
        case ExpectedGradients():
            return replace(method, samples=3)
        case IntegratedGradients():
            return replace(method, steps=4)
        case Occlusion():
            return replace(method, window=2, stride=1)  # symmetric, whatever the size
        case MeaningfulPerturbation():
            # Without shifts nothing is drawn, so that relations between images apply.
            return replace(method, steps=4, scale=2, mask_sigma=1.0, jitter=1, baseline=Blur(sigma=1.0))
        case PerSampleBottleneck():
            return replace(method, steps=2, samples=2)
        case ReadoutBottleneck():
            return replace(method, epochs=1, samples=2, rate=1e-3)
    return method
