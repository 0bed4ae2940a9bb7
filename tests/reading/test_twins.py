"""Every reading against its slow twin: on a run of all checks, and on made-up rows of any kind."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from made_up import BOTH, GROUP, PR, STAGES, manifest_of
from torch import nn

import heatproof as hp
from heatproof.auditing.run import Run
from heatproof.metrics import Metric
from heatproof.reading import Verdicts
from heatproof.rows import COLUMNS, chance_of
from heatproof.zoo import Training
from reference.reading import Twin, verdicts


def compare(rows: pd.DataFrame, manifest: Mapping[str, Any]) -> set[tuple[str, str, str]]:
    """Hold every verdict to the twin's; which (question, answer, word) there were."""
    ours, theirs = Verdicts.of(rows, manifest), verdicts(Twin(rows, dict(manifest)))
    found = {(m.label, q): one for m in ours.evidence.info.methods for q, one in ours.by_question(m.label).items()}
    found |= {(m.label, "believable"): ours.believable(m.label) for m in ours.evidence.info.methods}
    assert {key: one.answer for key, one in found.items()} == {key: one.answer for key, one in theirs.items()}
    for key, one in found.items():
        twin = theirs[key]
        if key[1] != "believable":
            assert (key, one.word, one.n) == (key, twin.word, twin.n)
        assert one.mean == pytest.approx(twin.mean, rel=1e-9, abs=1e-12, nan_ok=True), key
    return {(question, one.answer, one.word) for (_, question), one in found.items() if question != "believable"}


# --- a run of all checks ---


def patches(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, list[list[tuple[float, float, float, float]]]]:
    """Noise with a bright patch in one of four corners, which is the label; and the corner."""
    stream = torch.Generator().manual_seed(seed)
    images, targets = 0.3 * torch.randn(count, 1, 12, 12, generator=stream), torch.arange(count) % 4
    boxes = []
    for image, label in zip(images, targets.tolist(), strict=True):
        top, left = 6 * (label // 2) + 1, 6 * (label % 2) + 1
        image[0, top : top + 4, left : left + 4] += 1.0
        boxes.append([(float(left), float(top), float(left + 4), float(top + 4))])
    return images, targets, boxes


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(144, 4),
    )  # fmt: skip
    images, targets, boxes = patches(64, 0)
    stream = torch.Generator().manual_seed(0)
    for parameter in net.parameters():
        parameter.data = torch.randn(parameter.shape, generator=stream) / parameter[0].numel() ** 0.5
    steps = torch.optim.Adam(net.parameters(), 0.02)
    for _ in range(40):
        steps.zero_grad()
        nn.functional.cross_entropy(net(images), targets).backward()
        steps.step()
    measures = {"similarities": BOTH}
    quick = Training(learning_rate=0.02, epochs=20, batch_size=16, stop_at=1.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEATPROOF_CACHE", str(tmp_path_factory.mktemp("cache")))
        return hp.audit(
            net.eval(), images[:10], targets[:10], boxes=boxes[:10],
            training_data=hp.data.Dataset(
                name="patches", inputs=images, targets=targets, ids=tuple(str(i) for i in range(64))
            ),
            methods={
                "gradient": "gradient", "gradient-x-input": "gradient-x-input", "cgi": "cgi", "grad-cam": "grad-cam",
                "guided-backprop": "guided-backprop", "deeplift": "deeplift",
                "smoothgrad": hp.methods.SmoothGrad(samples=3),
                "integrated-gradients": hp.methods.IntegratedGradients(steps=3),
                "edge-detector": "edge-detector", "random": "random",
            },
            checks={
                PR: hp.checks.ParameterRandomization(**measures),
                "steadiness": hp.checks.Steadiness(draws=2, **measures),
                "data-randomization": hp.checks.DataRandomization(training=quick, accuracy=0.01, **measures),
                "input-controls": "input-controls", "degradation": hp.checks.Degradation(tile=3, steps=4),
                "sensitivity-n": hp.checks.SensitivityN(sets=12, sizes=4),
                "blurred-patch": hp.checks.BlurredPatch(size=3, regions=4, kernel=3), "bounding-box": "bounding-box",
                "completeness": "completeness", "complexity": "complexity",
                "calibration": "calibration", "method-agreement": "method-agreement",
                "efficient-parameter-randomization": "efficient-parameter-randomization",
                "network-structure": "network-structure",
            },
            out=tmp_path_factory.mktemp("run") / "run", batch=10, progress=False,
        )  # fmt: skip


def test_verdicts_on_a_run_of_all_checks_are_the_twins(run: Run) -> None:
    found = compare(run.rows(), run.manifest)
    questions = {question for question, _, _ in found}
    assert {*hp.readings.names()} <= questions
    assert {"calibration", "efficient-parameter-randomization"} <= questions


# --- made-up rows ---

EDGES, OTHER, HALVES = "edge-detector", "cascading uniform", "independent he"
STATES = [
    {"name": "a", "kind": "randomized", "group": GROUP, "label": "conv1", "index": STAGES, "complete": True},
    {"name": "b", "kind": "randomized", "group": OTHER, "label": "conv1", "index": 2, "complete": True},
    {"name": "c", "kind": "randomized", "group": HALVES, "label": "conv1", "index": 1, "complete": False},
]
MERIT = {"chance": 0.0, "ideal": 1.0, "higher_is_better": True}
SHARE = {"low": 0.0, "high": 1.0}
CHECKS = {
    "data-randomization": (), "input-controls": (), "completeness": (),
    "degradation": (Metric(name="degradation", **MERIT),), "sensitivity-n": (Metric(name="sensitivity-n", **MERIT),),
    "blurred-patch": (
        Metric(name="probability", higher_is_better=False, **SHARE), Metric(name="score", higher_is_better=False),
    ),
    "bounding-box": tuple(
        Metric(name=name, higher_is_better=True, ideal=1.0, **SHARE) for name in ("box-ratio", "pointing-game")
    ),
    "their-check": (
        Metric(name="good", chance=0.2, ideal=1.0, higher_is_better=True), Metric(name="shown"),
        Metric(name="less", chance=0.5, ideal=0.0, higher_is_better=False),
        Metric(name="alike", chance=0.0, higher_is_better=False, itself=1.0),
    ),
}  # fmt: skip


class Drawn:
    """Rows drawn at random: levels at and around every margin, blanks, missing parts, one seed or several."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.samples = int(self.rng.choice([4, 6, 9, 12, 12]))
        self.rows: list[tuple[Any, ...]] = []
        self.calm = False  # narrow, without blanks, steady: such as gets a yes
        for method in ("m", "n", EDGES):
            self.method(method)
        self.network()
        order = self.rng.permutation(len(self.rows))
        self.frame = pd.DataFrame([self.rows[k] for k in order], columns=COLUMNS)

    def often(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def add(
        self, check: str, method: str, metric: str, level: float, *, setting: str = "", position: float = 0.0,
        seeds: int = 1, spread: float | None = None, hit: bool = False,
    ) -> None:  # fmt: skip
        spread = (
            float(self.rng.choice([0.005, 0.02] if self.calm else [0.005, 0.05, 0.3])) if spread is None else spread
        )
        blank = (
            float(self.rng.choice([0.0, 0.0, 0.2, 0.6, 1.0], p=[0.5, 0.2, 0.15, 0.1, 0.05]))
            if spread and not self.calm
            else 0.0
        )
        by_sample = self.rng.normal(level, spread, self.samples)
        for seed in range(seeds):
            values = by_sample + self.rng.normal(0, spread / 2, self.samples)
            values = (self.rng.random(self.samples) < level).astype(float) if hit else values
            values = np.where(self.rng.random(self.samples) < blank, np.nan, values)
            self.rows += [
                (check, method, setting, "", "", position, f"s{i:02}", metric, float(value), seed, "c")
                for i, value in enumerate(values)
                if not self.often(0.02)  # a row that failed
            ]

    def level(self, *levels: float) -> float:
        return float(self.rng.choice(levels))

    def both(self, check: str, method: str, setting: str, level: float, **others: Any) -> None:
        """Both measures, which mostly agree; now and then only one was taken."""
        for metric in BOTH if self.calm or self.often(0.9) else BOTH[:1]:
            sign = -1.0 if metric == BOTH[0] and self.often(0.2) else 1.0
            here = level if self.calm or self.often(0.7) else self.level(0.0, 0.3, 0.6)
            self.add(check, method, metric, sign * here, setting=setting, **others)

    def method(self, method: str) -> None:
        self.calm = method != EDGES and self.often(0.5)
        chance = self.level(0.0, 0.1) if self.calm else self.level(0.0, 0.0, 0.1, 0.5, 0.95)
        same = method == EDGES or self.often(0.1)
        seeds = int(self.level(1, 2, 3))
        if self.often(0.9):
            r = self.level(1.0, 0.98) if self.calm else self.level(1.0, 0.9, 0.6, chance + 0.05)
            self.both(PR, method, "replicate", r, spread=0.0 if r == 1.0 else None)
        for group, stage in ((GROUP, STAGES), (OTHER, 2), (HALVES, 1)):
            if self.often(0.7):
                others = (chance,) if self.calm else (0.3, 0.5, 0.7, 0.95)
                s = 1.0 if same else self.level(chance, chance + 0.1, *others)
                self.both(PR, method, group, s, position=stage, seeds=seeds, spread=0.0 if same else None)
                if self.often(0.95):
                    self.both(PR, method, chance_of(group), chance, position=stage, spread=0.01)
            if method == "n":
                for metric in ("surviving-share", "surviving-energy"):
                    for position in (0, stage):
                        level = self.level(0.33, 0.6, 0.6) if position == 0 else self.level(0.2, 0.3, 0.6)
                        self.add(PR, method, metric, level, setting=group, position=position, seeds=seeds)
        for setting, share in (("parameters", 0.9), ("inputs", 0.6)):
            if self.often(share):
                level = 1.0 if same else 0.99 if self.calm else self.level(chance, 0.3, 0.5, 0.8, 0.99)
                self.both("steadiness", method, setting, level, seeds=seeds, spread=0.0 if same else None)
        self.both("steadiness", method, "parameters chance", chance, seeds=seeds, spread=0.01)
        self.add("steadiness", method, "max-sensitivity", 0.5, setting="ball")
        for setting, levels in (("permuted-labels", (0.0, 0.3, 0.7)), ("true-labels", (0.1, 0.8, 0.9))):
            if self.calm or self.often(0.8):
                self.both("data-randomization", method, setting, self.level(*levels))
        self.both("data-randomization", method, chance_of("permuted-labels"), self.level(0.0, 0.1))
        for control in (EDGES, "input-x-edges"):
            if self.often(0.8):
                self.both("input-controls", method, control, self.level(0.0, 0.2, 0.5, 0.6, 0.9))
                self.both("input-controls", method, chance_of(control), chance, spread=0.01)
        for check, metric in (("degradation",) * 2, ("sensitivity-n",) * 2, ("blurred-patch", "score")):
            if self.often(0.7):
                metric = "probability" if metric == "score" and self.often(0.5) else metric
                for position in (0, 1, 2):
                    level = self.level(0.3, 0.32, 0.5, 0.7)
                    self.add(check, method, metric, level, position=position)
        if self.often(0.8):
            self.add("bounding-box", method, "box-ratio", self.level(0.1, 0.2, 0.4))
            self.add("bounding-box", method, "pointing-game", self.level(0.0, 0.2, 0.9), hit=True)
        if self.often(0.8):
            self.add("completeness", method, "attribution-sum", 2.0, spread=0.1)
            if self.often(0.7):
                self.add("completeness", method, "completeness-gap", self.level(0.001, 0.02, 0.3), spread=0.004)
        elif self.often(0.7):
            self.add(PR, method, "score", 3.0, setting=GROUP, spread=0.1)
            self.add(PR, method, "conservation-gap", self.level(0.001, 0.03), setting=GROUP, spread=0.004)
            if self.often(0.5):
                self.add(PR, method, "baseline-score", 1.0, setting=GROUP, spread=0.1)
        for metric, level in (
            ("good", (0.2, 0.21, 0.6)),
            ("less", (0.5, 0.49, 0.1)),
            ("shown", (3.0,)),
            ("alike", (0.5,)),
        ):
            for setting in ("", "again"):
                self.add("their-check", method, metric, self.level(*level), setting=setting)

    def network(self) -> None:
        for setting in ("parameters", "inputs"):
            self.add("steadiness", "", "outputs-moved", self.level(*[0.01] * 7, 0.08), setting=setting, spread=0.0)
        for position in (0, STAGES):
            self.add(
                PR, "", "dead-target", self.level(0.0, 0.0, 0.0, 1.0), setting=GROUP, position=position, spread=0.0
            )
        self.add("bounding-box", "", "box-area", 0.15, spread=0.02)
        for metric, hit in (("box-ratio", False), ("pointing-game", True)):
            self.add("bounding-box", "", metric, 0.2, setting="center", hit=hit)

    def manifest(self) -> dict[str, Any]:
        costs = {name: {"seconds": self.rng.uniform(0.1, 9), "maps": 3} for name in ("m", "n", EDGES)}
        dead = {"dead": "all is zero", "remedy": "a seed"} if self.often(0.1) else {}
        states = [STATES[0] | dead, *STATES[1:]]
        controls = [EDGES] if self.often(0.85) else []
        methods = ["m", "n"] if controls else ["m", "n", EDGES]
        found = manifest_of(methods, controls=controls, checks=CHECKS, states=states, costs=costs)
        if self.often(0.2):
            found["methods"][1] |= {"learns": [{"changed": "exclude", "because": "it has no meaning there"}]}
        return found


def test_verdicts_on_made_up_rows_are_the_twins() -> None:
    met: set[tuple[str, str, str]] = set()
    for seed in range(30):
        drawn = Drawn(seed)
        met |= compare(drawn.frame, drawn.manifest())
    for question in ("depends", "labels", "steady", "repeats", "more-than-the-picture", "faithful", "localizes",
                     "complete", "competition", "their-check"):  # fmt: skip
        assert {answer for asked, answer, _ in met if asked == question} >= {"yes", "no", "unknown"}, question
