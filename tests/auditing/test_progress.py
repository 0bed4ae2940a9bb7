"""The estimate: counted against the passes that are really made."""

import audit_toys as toys
import pytest
import torch
from torch import Tensor, nn

import heatproof as hp
from heatproof.auditing.block import run_block
from heatproof.auditing.learning import Learned
from heatproof.auditing.plan import Missing, Plan
from heatproof.auditing.planning import make
from heatproof.auditing.progress import Progress
from heatproof.auditing.samples import Tensors
from heatproof.checks import Completeness, Degradation, MethodAgreement, ParameterRandomization, SensitivityN

CHECKS = {
    "sensitivity": SensitivityN(sets=5, sizes=3, tile=4),
    "degradation": Degradation(tile=4, steps=4),
    "agreement": MethodAgreement(),
    "randomization": ParameterRandomization(),
}


class Counting(nn.Module):
    """Samples that went through the network."""

    def __init__(self) -> None:
        super().__init__()
        self.net = toys.network()
        self.rows = 0

    def forward(self, x: Tensor) -> Tensor:
        self.rows += len(x)
        out: Tensor = self.net(x)
        return out


def planned(model: nn.Module, *methods: str, checks: dict[str, hp.checks.Check] = CHECKS) -> Plan:
    samples = Tensors(inputs=toys.images(), targets=torch.arange(7) % 4, ids=tuple("abcdefg"))
    recipes = {name: hp.methods.get(name) for name in methods}
    return make(model, samples, recipes, {k: (k, check) for k, check in checks.items()}, features=None, batch=3)


def everything(plan: Plan) -> Missing:
    return dict.fromkeys(plan.blocks, frozenset(plan.questions))


def computed(plan: Plan, missing: Missing) -> list[float]:
    """The passes that are heard of while everything is computed that misses rows."""
    heard: list[float] = []
    blocks = {block: plan.read(block) for block in missing}
    plan.model.rows = 0  # type: ignore[assignment]  # what a counting model counts
    for block, samples in blocks.items():
        list(run_block(plan, block, samples, Learned(), missing[block], lambda _, passes: heard.append(passes)))
    return heard


def test_checks_make_as_many_passes_as_the_estimate_says() -> None:
    model = Counting().eval()
    plan = planned(model, "random", "edge-detector")  # methods that never run the network
    estimate = Progress(plan, everything(plan), 1.0, show=False).estimate
    computed(plan, everything(plan))
    # three blocks of three: 1 + 5 sets of 3 sizes; 2 ends and 2 × 3 steps for two methods; trained, three stages, the
    # last under two more seeds
    a_block = (1 + 5 * 3) + (2 + 2 * 2 * 3) + 6
    assert model.rows == 9 * a_block
    assert estimate["passes of checks"] == estimate["passes"] == round(9 * a_block / 3)
    assert estimate["seconds"] == pytest.approx(3 * a_block / 3)


@pytest.mark.parametrize("some", [False, True])
def test_what_is_heard_of_adds_up_to_the_estimate(some: bool) -> None:
    plan = planned(toys.network(), "random", "gradient-x-input", checks={**CHECKS, "complete": Completeness()})
    missing = dict(everything(plan))
    if some:
        missing = {block: frozenset(sorted(plan.questions)[block::3]) for block in plan.blocks[1:]}
    progress = Progress(plan, missing, 1.0, show=False)
    assert sum(computed(plan, missing)) == pytest.approx(progress.estimate["seconds"])


def test_a_finished_run_has_nothing_ahead() -> None:
    plan = planned(toys.network(), "random")
    assert Progress(plan, {}, 1.0, show=False).estimate == {
        "maps": 0, "passes": 0, "passes of checks": 0, "passes of fits": 0, "seconds": 0.0
    }  # fmt: skip
