"""Runs the attribution tests of Captum's own repository through the adapter, and counts.

    python tests/peers/captum_suite.py SOURCES [FILE …]

SOURCES is a checkout of Captum (its `captum` and `tests`). Prints a line of JSON: by file and test, whether it passed,
was left out and why, or failed and how. In a process of its own, as it takes Captum's classes away from everybody.
"""

import importlib
import io
import json
import sys
import unittest
import warnings
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "captum.md"
FILES = [
    *(f"test_{name}" for name in (
        "deconvolution", "deeplift_basic", "deeplift_classification", "feature_ablation", "gradient_shap",
        "guided_backprop", "guided_grad_cam", "input_x_gradient", "integrated_gradients_basic",
        "integrated_gradients_classification", "lrp", "occlusion", "saliency", "targets",
    )),
    *(f"layer.test_{name}" for name in (
        "grad_cam", "layer_ablation", "layer_activation", "layer_deeplift", "layer_gradient_x_activation",
        "layer_integrated_gradients", "layer_lrp",
    )),
    *(f"neuron.test_neuron_{name}" for name in (
        "ablation", "deeplift", "gradient", "gradient_shap", "integrated_gradients",
    )),
]  # fmt: skip

# Tests that hold Captum to what it is, and us to something else on purpose.
_REUSED = "a reused module, which is refused there and explained here"
_LOGITS = "a softmax of logits beyond float32, which differs with the size of the batch and is refused here"
_INTEGERS = "attributions of booleans and integers, as inputs are floating"
_ROWS = "an input without a row a sample"
_UNUSED = "a layer that the outputs do not depend on, which has zeros there and is refused here"
OTHERWISE = {
    "test_lrp_repeated_module": _REUSED,
    "test_reusable_modules": _REUSED,
    "test_lrp_creator_activation": "a sigmoid, which is refused there and explained here",
    "test_lrp_multi_inputs": "a sum of two inputs, which doubles the relevance there and shares it here",
    "test_softmax_classification_batch_multi_baseline": _LOGITS,
    "test_softmax_classification_batch_zero_baseline": _LOGITS,
    "test_softmax_classification_multi_baseline": _LOGITS,
    "test_softmax_classification_zero_baseline": _LOGITS,
    "test_simple_ablation_boolean": _INTEGERS,
    "test_simple_ablation_boolean_with_baselines": _INTEGERS,
    "test_simple_ablation_int_to_int": _INTEGERS,
    "test_sparse_features": _ROWS,
    "test_empty_sparse_features": _ROWS,
    "test_relu_deeplift_with_unused_layer": _UNUSED,
    "test_simple_multi_gradient_activation_with_unused_layer": _UNUSED,
}


def patched(sources: Path) -> None:
    """Captum's modules with our classes under its names, before a test takes them from there."""
    sys.path[:0] = [str(sources), str(HERE)]
    import captum.attr
    from captum_adapter import CLASSES

    modules = [module for name, module in sys.modules.items() if name.startswith("captum.attr") and module]
    for name, ours in CLASSES.items():
        theirs = getattr(captum.attr, name)
        for module in modules:
            if vars(module).get(name) is theirs:
                setattr(module, name, ours)


def outcome(test: unittest.TestCase) -> tuple[str, str]:
    from captum_adapter import LeftOutError

    result = unittest.TestResult()
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        test.run(result)
    for _, said in (*result.errors, *result.failures):
        last = said.strip().splitlines()[-1]
        reasons = [line.split(":", 1)[1].strip() for line in said.splitlines() if f"{LeftOutError.__name__}:" in line]
        if reasons:
            return "left out", reasons[0]
        name = test.id().rsplit(".", 1)[-1]
        return ("left out", OTHERWISE[name]) if name in OTHERWISE else ("failed", last)
    return ("skipped", result.skipped[0][1]) if result.skipped else ("passed", "")


def tests_in(suite: Any) -> list[unittest.TestCase]:
    return [test for one in suite for test in (tests_in(one) if isinstance(one, unittest.TestSuite) else [one])]


def main(sources: Path, files: list[str]) -> dict[str, dict[str, tuple[str, str]]]:
    patched(sources)
    from captum_adapter import CLASSES

    found: dict[str, dict[str, tuple[str, str]]] = {}
    for file in files or FILES:
        module = importlib.import_module(f"tests.attr.{file}")
        assert all(vars(module).get(name, ours) is ours for name, ours in CLASSES.items()), f"Captum's own in {file}"
        found[file] = {}
        for test in tests_in(unittest.defaultTestLoader.loadTestsFromModule(module)):
            found[file][test.id().rsplit(".", 1)[-1]] = outcome(test)
    return found


def table(found: dict[str, dict[str, tuple[str, str]]], version: str) -> str:
    """The page of the documentation, in Markdown."""
    everything = [one for tests in found.values() for one in tests.values()]
    count = Counter(kind for kind, _ in everything)
    lines = [
        "# Captum's own tests",
        "",
        f"The tests of attribution in the repository of Captum {version}, run on heatproof's methods behind Captum's",
        "class interfaces (`tests/peers/captum_adapter.py`): inputs, baselines, targets, layers and neurons as they",
        f"are said there, values as they are expected there. Of {len(everything)} tests {count['passed']} pass,",
        f"{count['left out']} are left out for the reasons below, and {count['failed']} fail. `test_targets` is",
        "generated there, a test for each class and kind of target.",
        "Made by `python tests/peers/captum_suite.py SOURCES --page`.",
        "",
        "| file | tests | pass | left out | fail |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for file, tests in found.items():
        own = Counter(kind for kind, _ in tests.values())
        lines.append(f"| {file} | {len(tests)} | {own['passed']} | {own['left out']} | {own['failed']} |")
    lines += ["", "| left out | tests |", "| --- | ---: |"]
    for reason, times in Counter(why for kind, why in everything if kind == "left out").most_common():
        lines.append(f"| {reason} | {times} |")
    return "\n".join([*lines, "", *BESIDE])


BESIDE = """Files on what heatproof has no method for are not among them: Lime, KernelSHAP and Shapley values, feature
permutation over a batch, language models and their templates, data loaders, summaries, TorchScript, several devices,
conductance and internal influence by themselves.
""".splitlines()


if __name__ == "__main__":
    arguments = [one for one in sys.argv[1:] if one != "--page"]
    results = main(Path(arguments[0]), arguments[1:])
    if "--page" in sys.argv:
        import captum

        PAGE.write_text(table(results, captum.__version__) + "\n", encoding="utf-8")
    print(json.dumps(results))
