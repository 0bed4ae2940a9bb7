"""What of a method decides whether a relation must hold for it."""

from dataclasses import dataclass, fields, is_dataclass, replace

from heatproof.baselines import Zero
from heatproof.methods import controls
from heatproof.methods.backward import Gradient, GradientXInput, Saliency
from heatproof.methods.base import Attribution, Method
from heatproof.methods.bottleneck import PerSampleBottleneck
from heatproof.methods.cam import GradCAM, GuidedGradCAM
from heatproof.methods.channels import ChannelNorm
from heatproof.methods.competition import Competitive
from heatproof.methods.deeplift import DeepLIFT
from heatproof.methods.guided import BetaSmooth, Deconvnet, GuidedBackprop
from heatproof.methods.lrp import LRP, DeepTaylor
from heatproof.methods.noise import SmoothGrad, VarGrad
from heatproof.methods.occlusion import Occlusion
from heatproof.methods.path import IntegratedGradients
from heatproof.methods.patterns import PatternAttribution, PatternNet
from heatproof.methods.perturbation import MeaningfulPerturbation
from heatproof.methods.readout import ReadoutBottleneck
from heatproof.methods.references import OverBaselines
from heatproof.propagation.composites import Composite, composite
from heatproof.propagation.first_rules import Box
from heatproof.propagation.rules import Epsilon


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What a method does, as far as relations ask; the defaults claim nothing.

    Args:
        uses_model: whether the network decides anything.
        rules: it gives operations derivatives of its own, so it must see and know every one.
        layers: it reads what a submodule returns.
        asks: it asks the network what the dimensions of its inputs mean.
        draws: it draws numbers that are keyed by the sample's values.
        degree: k, where R(c·x) = c^k·R(x) on a homogeneous network, for c > 0.
        unit: k, where R = s^k·R′ if the input is given s times as large and the network divides by s first.
        per_scalar: whether each scalar's attribution is in units of its own, so that one column may have another unit.
        folds: its rules for convolutions part signs, or the first operation has one of its own: a batch norm is folded
            into the weights before it, and a scale that is written out is not.
        parts: its rule for linear layers parts signs.
        clamps: it clamps at ReLUs, unmasked where `masked` is False.
        first: rules of their own for the first linear operation.
        patterns: it learns a direction for each linear operation and its bias.
        learns: it keeps what it learned in float32.
        reads_outputs: the logits of all labels are among the features that it learns from.
        likelihood: it reads a softmax of the logits, so scaled logits are another question.
        secants: it takes slopes between two values, operation by operation.
        direction: it reads images in a direction, so their mirror image is another question.
    """

    uses_model: bool = True
    rules: bool = False
    layers: bool = False
    asks: bool = False
    draws: bool = False
    degree: int | None = None
    unit: int | None = None
    per_scalar: bool = True
    folds: bool = False
    parts: bool = False
    clamps: bool = False
    masked: bool = True
    first: bool = False
    patterns: bool = False
    learns: bool = False
    reads_outputs: bool = False
    likelihood: bool = False
    secants: bool = False
    direction: bool = False

    @property
    def stabilizes(self) -> bool:
        """Whether its rules divide by sums that ε keeps from 0."""
        return self.rules and not (self.clamps or self.secants or self.patterns)


_OF: dict[type, Traits] = {
    Gradient: Traits(degree=0, unit=-1),
    Saliency: Traits(degree=0, unit=-1),
    GradientXInput: Traits(degree=1, unit=0),
    GuidedBackprop: Traits(rules=True, degree=0, unit=-1, clamps=True),
    BetaSmooth: Traits(rules=True, unit=-1, clamps=True),
    Deconvnet: Traits(rules=True, degree=0, unit=-1, clamps=True, masked=False),
    GradCAM: Traits(layers=True, degree=1, unit=0),
    GuidedGradCAM: Traits(layers=True, rules=True, degree=1, unit=-1, clamps=True),
    PerSampleBottleneck: Traits(layers=True, learns=True, draws=True, likelihood=True, unit=0),
    ReadoutBottleneck: Traits(layers=True, learns=True, reads_outputs=True, draws=True, likelihood=True, unit=0),
    MeaningfulPerturbation: Traits(likelihood=True, draws=True, asks=True, unit=0, direction=True),
    PatternNet: Traits(rules=True, patterns=True, learns=True, degree=1, unit=1),
    PatternAttribution: Traits(rules=True, patterns=True, learns=True, degree=1, unit=0),
    controls.Random: Traits(uses_model=False, draws=True),
    controls.InputXRandomGradient: Traits(uses_model=False, draws=True),
    controls.EdgeDetector: Traits(uses_model=False, asks=True, degree=1, unit=1, per_scalar=False),
    controls.InputXEdges: Traits(uses_model=False, asks=True, degree=2, unit=2, per_scalar=False),
}


def traits_of(method: Attribution) -> Traits:
    """The traits of a method of this package, or of one around it; for a foreign one, what its class shows."""
    if isinstance(method, Competitive):
        return traits_of(method.method)
    if isinstance(method, ChannelNorm):
        return replace(traits_of(method.method), per_scalar=False, asks=True)
    if isinstance(method, SmoothGrad | VarGrad):
        inner = traits_of(method.method)
        return replace(inner, asks=True, draws=inner.draws or method.noise > 0)
    if isinstance(method, OverBaselines):
        inner = traits_of(method.method)
        zero = not bool(method.baselines.tensor.any())
        draws = inner.draws or method.samples is not None
        return replace(inner, draws=draws, degree=inner.degree if zero else None, unit=inner.unit if zero else None)
    if isinstance(method, IntegratedGradients | Occlusion | DeepLIFT):
        zero = isinstance(method.baseline, Zero)
        return Traits(
            degree=1 if zero else None,
            unit=0 if zero else None,
            rules=isinstance(method, DeepLIFT),
            asks=isinstance(method, Occlusion) and method.features is None,
            secants=isinstance(method, DeepLIFT),
        )
    if isinstance(method, LRP):
        return _of_rules(composite(method.composite))
    if isinstance(method, DeepTaylor):
        return Traits(rules=True, degree=1, unit=0, folds=True, parts=True, first=True, per_scalar=False)
    if isinstance(method, MeaningfulPerturbation) and method.jitter == 1:
        return replace(_OF[type(method)], draws=False)
    return _OF.get(type(method), Traits(draws=_has_seed(method), uses_model=getattr(method, "uses_model", True)))


def _of_rules(rules: Composite) -> Traits:
    parts = not isinstance(rules.dense, Epsilon)
    return Traits(
        rules=True,
        degree=1,
        unit=0,
        folds=parts or not isinstance(rules.convolution, Epsilon) or rules.first is not None,
        parts=parts,
        first=rules.first is not None,
        per_scalar=not isinstance(rules.first, Box),
    )


def _has_seed(recipe: object) -> bool:
    """Whether a field of a recipe, or of one in its fields, is called `seed`."""
    if not isinstance(recipe, Method) or not is_dataclass(recipe):
        return False
    return any(field.name == "seed" or _has_seed(getattr(recipe, field.name)) for field in fields(recipe))
