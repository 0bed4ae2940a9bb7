from dataclasses import dataclass
from functools import partial

import pytest
import torch

import heatproof as hp
from heatproof.errors import InputError
from heatproof.methods import GradientXInput, IntegratedGradients, SmoothGrad
from heatproof.recipes import describe, digest, text


def test_equal_recipes_have_one_identity_whatever_the_number_type() -> None:
    one, other = SmoothGrad(noise=1), SmoothGrad(noise=1.0)
    assert digest(describe(one)) == digest(describe(other))
    assert digest(describe(SmoothGrad(noise=1.5))) != digest(describe(other))


def test_nested_fields_and_versions_count() -> None:
    plain = IntegratedGradients()
    with_baseline = IntegratedGradients(baseline=hp.baselines.Constant(value=0.5))
    assert digest(describe(SmoothGrad(plain))) != digest(describe(SmoothGrad(with_baseline)))
    assert describe(plain)["version"] == 1


def test_callables_are_told_apart_by_code_arguments_and_closure() -> None:
    def explainer(factor: float, model: object, inputs: object, targets: object) -> float:
        return factor

    def made(factor: float) -> object:
        return lambda model, inputs, targets: factor

    assert digest(describe(partial(explainer, 1.0))) != digest(describe(partial(explainer, 2.0)))
    assert digest(describe(made(1.0))) != digest(describe(made(2.0)))
    assert digest(describe(made(1.0))) == digest(describe(made(1.0)))


def test_functions_without_code_are_refused() -> None:
    with pytest.raises(InputError, match="Expected a recipe whose code and state can be read"):
        describe(torch.sin)


def test_state_that_cannot_be_read_is_refused() -> None:
    class Explainer:
        def __init__(self) -> None:
            self.state = object()

        def __call__(self) -> None: ...

    with pytest.raises(InputError, match="make it a frozen dataclass whose fields are its configuration"):
        describe(Explainer())


def test_one_line_of_meaning() -> None:
    @dataclass(frozen=True)
    class Documented:
        """What it is.

        And more.
        """

    assert text(Documented()) == "What it is."
    assert text(GradientXInput()) == "The gradient times the input: a first-order share of the score."
