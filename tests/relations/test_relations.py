"""The relations themselves: what they find of sound methods, how they compare, what they refuse."""

import pytest
import torch
from torch import Tensor, nn

import heatproof as hp
from heatproof.errors import InputError, UnknownNameError
from heatproof.testing import ContractNet, check_relations, relation_table
from heatproof.testing.relations import (
    RELATIONS,
    NetworkSpec,
    Step,
    Traits,
    build,
    draw,
    quick_methods,
    relations,
    samples,
    subject_of,
    traits_of,
)

SPEC = NetworkSpec((2, 6, 8), (Step("conv"), Step("batch_norm"), Step("relu"), Step("conv", width=4), Step("relu")))
SOUND = ("gradient", "gradient-x-input", "saliency", "integrated-gradients", "occlusion", "random", "edge-detector")
FAMILIES = ("spelling", "form", "layout", "batch", "nothing happened", "units", "no trace")


def test_every_relation_has_a_name_of_its_own_and_says_what_it_does():
    names = [relation.name for relation in RELATIONS]
    assert len(set(names)) == len(names)
    assert {relation.family for relation in RELATIONS} == set(FAMILIES)
    assert all(relation.says for relation in RELATIONS)


@pytest.mark.parametrize("name", SOUND)
def test_sound_methods_keep_the_relations_of_values(name):
    of_values = relations("spelling", "layout", "batch", "nothing happened", "units")
    table = relation_table({name: quick_methods()[name]}, [SPEC, draw(3)], relations=of_values)
    assert [key for key, cell in table.items() if cell.failures] == []
    assert sum(cell.holds for cell in table.values()) > 30 or not quick_methods()[name].uses_model


def test_a_foreign_method_is_held_to_what_it_states():
    spec = NetworkSpec((4,), (Step("linear"), Step("relu")), biases=False)
    model, x, targets = build(spec), samples(spec, 3), torch.tensor([0, 1, 2])
    values = relations("units", "layout", "batch", "spelling")
    silent = check_relations(times_three, model, x, targets, relations=values)
    assert silent["homogeneous-1e-06"].kind == "inapplicable"
    assert silent["homogeneous-1e-06"].words == "how its maps go with the units of the input is not stated"
    stated = check_relations(times_three, model, x, targets, relations=values, traits=Traits(degree=1, unit=0))
    assert {stated[name].kind for name in ("homogeneous-1e-13", "unit-1e+06", "one-column", "alone")} == {"holds"}
    assert stated["transposed"].words == "inputs are no images"


def times_three(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    x = inputs.clone().requires_grad_()
    with torch.enable_grad():
        score = hp.models.forward(model, x).gather(1, targets[:, None]).sum()
    return 3 * x.detach() * torch.autograd.grad(score, x)[0]


def test_a_network_of_ones_own():
    x = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found = check_relations(
        hp.methods.Gradient(), ContractNet(), x, torch.tensor([0, 1, 2]), relations=relations("batch", "transposed")
    )
    assert {outcome.kind for name, outcome in found.items() if name != "transposed"} == {"holds"}
    assert found["transposed"].kind == "holds"


def test_a_changed_function_is_no_relation():
    spec = NetworkSpec((2, 5, 5), (Step("conv", size=2, stride=2), Step("relu")))  # one side is read, the other is not
    model, x = build(spec), samples(spec, 2)
    found = check_relations(hp.methods.Gradient(), model, x, torch.tensor([0, 1]), relations=relations("mirrored"))
    assert found["mirrored"].kind == "inapplicable"
    assert found["mirrored"].words.startswith("the changed network computes something else")


def test_maps_are_compared_in_float64():
    with pytest.raises(InputError, match=r"Expected inputs in float64, .* but got torch.float32"):
        check_relations(hp.methods.Gradient(), build(SPEC).float(), samples(SPEC, 2).float(), torch.tensor([0, 1]))


def test_an_unknown_relation_is_named():
    with pytest.raises(UnknownNameError, match="did you mean 'transposed'"):
        relations("transpose")


@pytest.mark.parametrize("name", hp.methods.names())
def test_every_registered_method_states_its_traits(name):
    traits = traits_of(hp.methods.get(name))
    assert traits.draws or traits.likelihood or traits.degree is not None or traits.unit is not None


def test_a_network_that_a_method_refuses_says_nothing_of_it():
    table = relation_table({"grad-cam": hp.methods.GradCAM()}, [NetworkSpec((4,), (Step("linear"),))])
    assert all(cell.draws == 0 for cell in table.values())


def test_fitted_methods_learn_anew_on_the_other_network():
    subject = subject_of(NetworkSpec((4,), (Step("linear"), Step("relu"))))
    found = check_relations(
        hp.methods.PatternNet(), *subject[:3], relations=relations("spelled-functional", "copied", "unit-1e+06")
    )
    assert {outcome.kind for outcome in found.values()} == {"holds"}
