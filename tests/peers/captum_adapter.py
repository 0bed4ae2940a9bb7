"""Captum's class interfaces said in heatproof's terms: each class makes a recipe, a model and inputs, and calls it.

What has no word here raises `LeftOutError` with the reason.
"""

from collections.abc import Callable, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from inspect import Parameter, signature
from typing import Any

import torch
from torch import Tensor, nn

from heatproof import baselines as hb
from heatproof import draws
from heatproof import methods as hm
from heatproof.errors import HeatproofError
from heatproof.features import Columns, Segments
from heatproof.frozen import Frozen
from heatproof.models import Bound, Shared, as_model
from heatproof.propagation.composites import Composite
from heatproof.propagation.rules import AlphaBeta, Epsilon, Gamma, Pass
from heatproof.targets import Function, Index

OF_BATCH = "a function of the batch as a whole, whose samples have no outputs of their own"


class LeftOutError(Exception):
    """There is no word for it here, and why."""


def tensors(value: Any) -> tuple[Tensor, ...]:
    return value if isinstance(value, tuple) else (value,)


@contextmanager
def evaluated(net: nn.Module):
    """In eval mode, which heatproof asks for; and its refusals as the assertions that Captum makes."""
    modes = {module: module.training for module in net.modules()}
    net.eval()
    try:
        yield
    except HeatproofError as error:
        if "Expected logits (N, C)" in str(error) or "tensor of logits" in str(error):
            raise LeftOutError(
                "a function of the batch as a whole, whose samples have no outputs of their own"
            ) from error
        raise AssertionError(str(error)) from error
    finally:
        for module, mode in modes.items():
            module.training = mode


def flat(out: Any) -> Tensor:
    return out.flatten(1) if isinstance(out, Tensor) and out.dim() > 2 else out


class Task:
    """A model, what is explained of it, and the way back to the shape of what was given."""

    def __init__(
        self, function: Any, inputs: Any, target: Any = None, more: Any = None, *, at: Any = None, **bound: Any
    ):
        self.net = as_model(function)
        self.given, self.target, self.bound = inputs, target, bound
        self.inputs = tuple(one.detach() for one in tensors(inputs))
        if not all(one.is_floating_point() for one in self.inputs) and at is None:
            self.inputs = tuple(one.float() for one in self.inputs)
        self.more = () if more is None else more if isinstance(more, tuple) else (more,)
        known = signature(self.net.forward).parameters
        if any(one.kind is Parameter.VAR_POSITIONAL for one in known.values()):
            raise LeftOutError("a forward of *args, whose arguments have no names")
        names = list(known)
        self.names = names[: len(self.inputs)]
        samples = len(self.inputs[0])
        self.others = {
            name: value
            if self._is_row(value, samples) or isinstance(value, (int, float, type(None)))
            else Shared(value)
            for name, value in zip(names[len(self.inputs) :], self.more, strict=False)
        }
        arguments = dict(zip(self.names, self.inputs, strict=True)) | self.others
        if "layer" not in bound:
            bound = {**bound, "output": flat}
        with evaluated(self.net):
            self.packed = at is None and (len(self.inputs) > 1 or self.inputs[0].dim() == 1)
            if at is not None:
                self.model = Bound(self.net, at=at, given=arguments, **bound)
                self.x = self.model.inputs()
            elif self.packed:
                self.model = Bound(self.net, at=self.names, given=arguments, **bound)
                self.x = self.model.inputs()
            else:
                self.model, self.x = Bound(self.net, given=self.others, **bound), self.inputs[0]

    @staticmethod
    def _is_row(value: Any, samples: int) -> bool:
        return isinstance(value, Tensor) and value.dim() > 0 and len(value) == samples

    @property
    def labels(self) -> Any:
        if not isinstance(self.target, (int, list, tuple, Tensor, type(None))):
            return self.target
        with torch.no_grad(), evaluated(self.net):
            answer = self.net(*self.inputs, *self.more)
        if not isinstance(answer, Tensor) or answer.dim() == 0 or len(answer) != len(self.inputs[0]):
            raise LeftOutError(OF_BATCH)
        if self.target is None:
            assert answer.dim() < 2 or answer[0].numel() == 1, "a target"
            return 0
        if isinstance(self.target, Tensor):
            found = self.target.flatten().tolist()
            return found[0] if len(found) == 1 else found
        if isinstance(self.target, int):
            return self.target
        shape = answer.shape[1:]
        each = self.target if isinstance(self.target, list) else [self.target]
        found = [self._flat_index(one, shape) for one in each]
        return found[0] if len(found) == 1 else found

    @staticmethod
    def _flat_index(index: Any, shape: Sequence[int]) -> int:
        entries = index if isinstance(index, tuple) else (index,)
        assert len(entries) == len(shape), "a number for each dimension of the outputs"
        number = 0
        for one, size in zip(entries, shape, strict=True):
            number = number * size + int(one)
        return number

    def pack(self, values: Sequence[Any]) -> Tensor:
        """Values an input, each a number or a tensor, laid as the inputs are; (1, …) or (N, …)."""
        rows = max((len(v) for v in values if isinstance(v, Tensor) and v.dim()), default=1)
        laid = []
        for value, one in zip(values, self.inputs, strict=True):
            value = torch.as_tensor(value, dtype=one.dtype)
            laid.append(value.expand(rows, *one.shape[1:]).reshape(rows, -1) if self.packed else value)
        return torch.cat(laid, 1) if self.packed else laid[0]

    def baseline(self, given: Any) -> Any:
        if given is None:
            return 0.0
        values = given if isinstance(given, tuple) else (given,)
        if not self.packed and not isinstance(values[0], Tensor):
            return float(values[0])
        packed = self.pack(values)
        return hb.PerSample(packed) if packed.dim() and len(packed) == len(self.x) > 1 else hb.Values(packed)

    def back(self, maps: Tensor) -> Any:
        """Maps of the explained tensor in the shapes of the inputs."""
        maps = maps.expand_as(self.x)
        if not self.packed:
            return (maps,) if isinstance(self.given, tuple) else maps
        parts = tuple(self.model.parts(maps)[name] for name in self.names)
        return parts if isinstance(self.given, tuple) else parts[0]

    def run(self, method: Any) -> Any:
        with evaluated(self.net):
            return self.back(method(self.model, self.x, self.labels))


class Explainer:
    """`recipe(task, **settings)` makes the method; `attribute` calls it."""

    def __init__(self, forward_func: Callable[..., Any], *, multiply_by_inputs: bool = True, **_: Any) -> None:
        self.forward_func, self.multiplies_by_inputs = forward_func, multiply_by_inputs

    def task(self, inputs: Any, target: Any, more: Any) -> Task:
        return Task(self.forward_func, inputs, target, more)

    def recipe(self, task: Task, **settings: Any) -> Any:
        raise NotImplementedError

    def attribute(
        self, inputs: Any, *args: Any, target: Any = None, additional_forward_args: Any = None,
        return_convergence_delta: bool = False, **settings: Any,
    ) -> Any:  # fmt: skip
        if args:
            settings = dict(zip(self.positional, args, strict=False)) | settings
            target = settings.pop("target", target)
            additional_forward_args = settings.pop("additional_forward_args", additional_forward_args)
        task = self.task(inputs, target, additional_forward_args)
        found = self.found(task, **settings)
        if not return_convergence_delta:
            return found
        return found, self.delta(task, found, settings)

    positional: tuple[str, ...] = ("target",)

    def found(self, task: Task, **settings: Any) -> Any:
        return task.run(self.recipe(task, **settings))

    def delta(self, task: Task, found: Any, settings: dict[str, Any]) -> Tensor:
        return self.compute_convergence_delta(
            found, settings.get("baselines"), task.given, task.target, task.more or None
        )

    def compute_convergence_delta(
        self,
        attributions: Any,
        start_point: Any,
        end_point: Any,
        target: Any = None,
        additional_forward_args: Any = None,
    ) -> Tensor:
        """ΣR − (S(x) − S(x̄)), as the diagnostic `completeness-gap`."""
        task = self.task(end_point, target, additional_forward_args)
        with torch.no_grad(), evaluated(task.net):
            base = hb.resolved(hb.as_baseline(task.baseline(start_point)), task.model, task.x)
            labels = torch.as_tensor(task.labels).expand(len(task.x)) if not callable(task.labels) else None
            after, before = (task.model(at).reshape(len(task.x), -1) for at in (task.x, base))
            promised = (after - before).gather(1, labels[:, None])[:, 0]
        return sum(one.flatten(1).sum(1) for one in map(_rows, tensors(attributions))) - promised

    def has_convergence_delta(self) -> bool:
        return False

    def attribute_future(self, *_: Any, **__: Any) -> None:
        raise NotImplementedError


def _rows(maps: Tensor) -> Tensor:
    return maps[:, None] if maps.dim() == 1 else maps


class Slopes(Explainer):
    """Without a factor x."""

    def __init__(self, forward_func: Callable[..., Any], **_: Any) -> None:
        super().__init__(forward_func, multiply_by_inputs=False)


class Saliency(Slopes):
    positional = ("target", "abs", "additional_forward_args")

    def recipe(self, task: Task, abs: bool = True) -> Any:
        return hm.Saliency() if abs else hm.Gradient()


class InputXGradient(Explainer):
    positional = ("target", "additional_forward_args")

    def recipe(self, task: Task) -> Any:
        return hm.GradientXInput()


class Deconvolution(Slopes):
    positional = ("target", "additional_forward_args")

    def recipe(self, task: Task) -> Any:
        return hm.Deconvnet()


class GuidedBackprop(Slopes):
    positional = ("target", "additional_forward_args")

    def recipe(self, task: Task) -> Any:
        return hm.GuidedBackprop()


QUADRATURES = {
    "gausslegendre": "gauss-legendre",
    "riemann_left": "riemann-left",
    "riemann_middle": "riemann-middle",
    "riemann_right": "riemann-right",
    "riemann_trapezoid": "trapezoid",
}


class IntegratedGradients(Explainer):
    positional = ("baselines", "target", "additional_forward_args", "n_steps", "method", "internal_batch_size")

    def recipe(
        self, task: Task, baselines: Any = None, n_steps: int = 50, method: str = "gausslegendre",
        internal_batch_size: int | None = None,
    ) -> Any:  # fmt: skip
        return hm.IntegratedGradients(
            steps=n_steps, quadrature=QUADRATURES[method], baseline=task.baseline(baselines),
            multipliers=not self.multiplies_by_inputs,
        )  # fmt: skip

    def has_convergence_delta(self) -> bool:
        return True


class DeepLift(Explainer):
    positional = ("baselines", "target", "additional_forward_args")

    def recipe(self, task: Task, baselines: Any = None, custom_attribution_func: Any = None) -> Any:
        multipliers = not self.multiplies_by_inputs or custom_attribution_func is not None
        return hm.DeepLIFT(baseline=task.baseline(baselines), multipliers=multipliers)

    def found(self, task: Task, **settings: Any) -> Any:
        func = settings.get("custom_attribution_func")
        multipliers = super().found(task, **settings)
        return multipliers if func is None else _customized(func, multipliers, task, settings.get("baselines"))

    def has_convergence_delta(self) -> bool:
        return True


def _customized(func: Any, multipliers: Any, task: Task, baselines: Any) -> Any:
    base = baselines if isinstance(baselines, tuple) else (baselines,) * len(task.inputs)
    laid = tuple(
        torch.as_tensor(0.0 if b is None else b, dtype=x.dtype).expand_as(x)
        for b, x in zip(base, task.inputs, strict=True)
    )
    made = func(tensors(multipliers), task.inputs, laid)
    return made if isinstance(task.given, tuple) else made[0]


def _distribution(task: Task, baselines: Any) -> Tensor:
    if callable(baselines):
        baselines = baselines(task.given) if signature(baselines).parameters else baselines()
    assert all(isinstance(one, Tensor) and one.dim() for one in tensors(baselines)), "rows like samples"
    return task.pack(baselines if isinstance(baselines, tuple) else (baselines,))


class DeepLiftShap(DeepLift):
    def recipe(self, task: Task, baselines: Any = None, custom_attribution_func: Any = None) -> Any:
        multipliers = not self.multiplies_by_inputs
        return hm.OverBaselines(hm.DeepLIFT(multipliers=multipliers), baselines=_distribution(task, baselines))

    def found(self, task: Task, **settings: Any) -> Any:
        func = settings.get("custom_attribution_func")
        if func is None:
            return Explainer.found(self, task, **settings)
        each = [
            tensors(_customized(func, task.run(hm.DeepLIFT(baseline=hb.Values(row), multipliers=True)), task, None))
            for row in _distribution(task, settings["baselines"])
        ]
        made = tuple(sum(parts) / len(each) for parts in zip(*each, strict=True))
        return made if isinstance(task.given, tuple) else made[0]

    def delta(self, task: Task, found: Any, settings: dict[str, Any]) -> Tensor:
        rows = _distribution(task, settings["baselines"])
        with evaluated(task.net):
            gaps = [
                hm.DeepLIFT(baseline=hb.Values(row)).explain(task.model, task.x, task.labels).diagnostics
                for row in rows
            ]
        return torch.stack([one["completeness-gap"] for one in gaps], 1).flatten()


class GradientShap(Explainer):
    positional = ("baselines", "n_samples", "stdevs", "target", "additional_forward_args")

    def recipe(self, task: Task, baselines: Any = None, n_samples: int = 5, stdevs: Any = 0.0) -> Any:
        multipliers = not self.multiplies_by_inputs
        rows = _distribution(task, baselines)
        sigma = _sigma(task, stdevs)
        if not bool(sigma.any()):
            return hm.ExpectedGradients(baselines=rows, samples=n_samples, multipliers=multipliers)
        inner = hm.ExpectedGradients(baselines=rows, samples=1, multipliers=multipliers)
        return hm.SmoothGrad(inner, samples=n_samples, sigma=sigma)

    def delta(self, task: Task, found: Any, settings: dict[str, Any]) -> Tensor:
        raise LeftOutError("a gap of each random draw, of which only the mean is explained")

    def has_convergence_delta(self) -> bool:
        return True


def _sigma(task: Task, stdevs: Any) -> Frozen | Tensor:
    each = stdevs if isinstance(stdevs, tuple) else (stdevs,) * len(task.inputs)
    laid = [torch.full(one.shape[1:], float(s), dtype=task.x.dtype) for s, one in zip(each, task.inputs, strict=True)]
    return torch.cat([one.flatten() for one in laid]) if task.packed else laid[0]


class NoiseTunnel(Explainer):
    positional = ("nt_type", "nt_samples", "nt_samples_batch_size", "stdevs", "draw_baseline_from_distrib")

    def __init__(self, attribution_method: Any) -> None:
        super().__init__(attribution_method.forward_func)
        self.inner = attribution_method

    @property
    def multiplies_by_inputs(self) -> bool:
        return self.inner.multiplies_by_inputs

    @multiplies_by_inputs.setter
    def multiplies_by_inputs(self, value: bool) -> None:
        pass

    def task(self, inputs: Any, target: Any, more: Any) -> Task:
        return self.inner.task(inputs, target, more)

    def recipe(
        self, task: Task, nt_type: str = "smoothgrad", nt_samples: int = 5, nt_samples_batch_size: int | None = None,
        stdevs: Any = 1.0, draw_baseline_from_distrib: bool = False, **settings: Any,
    ) -> Any:  # fmt: skip
        drawn = settings.pop("baselines") if draw_baseline_from_distrib else None
        inner = self.inner.recipe(task, **settings)
        if drawn is not None:
            inner = hm.OverBaselines(inner, baselines=_distribution(task, drawn), samples=1)
        sigma = _sigma(task, stdevs)
        if nt_type == "vargrad":
            return hm.VarGrad(inner, samples=nt_samples, sigma=sigma)
        of = {"smoothgrad": "maps", "smoothgrad_sq": "squares"}[nt_type]
        return hm.SmoothGrad(inner, samples=nt_samples, sigma=sigma, of=of)

    def delta(self, task: Task, found: Any, settings: dict[str, Any]) -> Tensor:
        """The gaps of the noisy copies, which are drawn as SmoothGrad draws them."""
        settings = dict(settings)
        count, sigma = settings.pop("nt_samples", 5), _sigma(task, settings.pop("stdevs", 1.0))
        for name in ("nt_type", "nt_samples_batch_size", "draw_baseline_from_distrib"):
            settings.pop(name, None)
        if isinstance(self.inner, (DeepLiftShap, GradientShap)):
            raise LeftOutError("a gap of each random draw, of which only the mean is explained")
        recipe, gaps = self.inner.recipe(task, **settings), []
        if getattr(recipe, "multipliers", False):
            recipe = replace(recipe, multipliers=False)
        for noise in draws.normal(task.x, 0, "noise", copies=range(count)):
            with evaluated(task.net):
                gaps.append(recipe.explain(task.model, task.x + sigma * noise, task.labels))
        return torch.stack([one.diagnostics["completeness-gap"] for one in gaps], 1).flatten()

    def has_convergence_delta(self) -> bool:
        return self.inner.has_convergence_delta()


def _rows_or_one(base: Any, one: Tensor) -> Any:
    rows = isinstance(base, Tensor) and base.dim() == one.dim() and len(base) == len(one) > 1
    return hb.PerSample(base) if rows else base


def _differ(masks: Any) -> bool:
    """Whether samples have segments of their own."""
    return masks is not None and any(m.dim() and len(m) > 1 and not bool((m == m[:1]).all()) for m in tensors(masks))


def _sample(value: Any, i: int, count: int) -> Any:
    if isinstance(value, tuple):
        return tuple(_sample(one, i, count) for one in value)
    rows = isinstance(value, Tensor) and value.dim() > 0 and len(value) == count
    return value[i : i + 1] if rows else value[i] if isinstance(value, list) and len(value) == count else value


class FeatureAblation(Explainer):
    positional = ("baselines", "target", "additional_forward_args", "feature_mask", "perturbations_per_eval")

    def recipe(
        self, task: Task, baselines: Any = None, feature_mask: Any = None, perturbations_per_eval: int = 1,
        show_progress: bool = False, enable_cross_tensor_attribution: bool = False,
    ) -> Any:  # fmt: skip
        assert perturbations_per_eval >= 1, "at least one"
        features: Any = Columns()
        if _differ(feature_mask):
            raise LeftOutError("segments of each sample's own, where samples are not explained one by one")
        if feature_mask is not None:
            features = Segments(_mask(task, feature_mask))
        return hm.Occlusion(features=features, window=1, stride=1, baseline=task.baseline(baselines))

    def attribute(self, inputs: Any, *args: Any, **settings: Any) -> Any:
        settings = dict(zip(self.positional, args, strict=False)) | settings
        if not _differ(settings.get("feature_mask")):
            return super().attribute(inputs, **settings)
        count = len(tensors(inputs)[0])  # one by one, each with its own segments
        each = [
            super(FeatureAblation, self).attribute(
                _sample(inputs, i, count), **{name: _sample(value, i, count) for name, value in settings.items()}
            )
            for i in range(count)
        ]
        if isinstance(inputs, tuple):
            return tuple(torch.cat(parts) for parts in zip(*each, strict=True))
        return torch.cat(each)

    def attribute_future(self, *_: Any, **__: Any) -> None:
        raise LeftOutError("torch's futures: a call returns when it is done")

    def found(self, task: Task, **settings: Any) -> Any:
        if settings.get("show_progress"):
            raise LeftOutError("a bar on the terminal")
        method = self.recipe(task, **settings)
        with evaluated(task.net):
            maps = method(task.model, task.x, task.labels)
        shape = task.x.shape[1:]
        whole = method.features.spread(method.features.pool(maps.expand(-1, *shape), shape), shape)
        return task.back(whole)


def _mask(task: Task, masks: Any) -> Tensor:
    """Segments of all inputs together: the same number is the same segment, in whichever input it stands."""
    each = [
        (mask if mask.dim() == 0 else mask[0]).expand(one.shape[1:])
        for mask, one in zip(tensors(masks), task.inputs, strict=True)
    ]
    return torch.cat([one.flatten() for one in each]) if task.packed else each[0]


class Occlusion(Explainer):
    positional = ("sliding_window_shapes", "strides", "baselines", "target", "additional_forward_args")

    def recipe(
        self, task: Task, sliding_window_shapes: Any = None, strides: Any = None, baselines: Any = None,
        perturbations_per_eval: int = 1, show_progress: bool = False,
    ) -> Any:  # fmt: skip
        if show_progress:
            raise LeftOutError("a bar on the terminal")
        window = sliding_window_shapes
        window = tuple(window[0]) if isinstance(window[0], tuple) else tuple(window)
        stride = strides[0] if isinstance(strides, tuple) and isinstance(strides[0], tuple) else strides
        if stride is None:
            stride = 1
        return hm.Occlusion(features=Columns(), window=window, stride=stride, baseline=task.baseline(baselines))

    def attribute(self, inputs: Any, *args: Any, **settings: Any) -> Any:
        """Windows lie in one input at a time: each is explained with the others given."""
        settings = dict(zip(self.positional, args, strict=False)) | settings
        if not isinstance(inputs, tuple):
            return super().attribute(inputs, **settings)
        each = {name: settings.pop(name, None) for name in ("sliding_window_shapes", "strides", "baselines")}
        for name, value in each.items():
            each[name] = value if isinstance(value, tuple) else (value,) * len(inputs)
            assert len(each[name]) == len(inputs), "one for each input"
        target, more = settings.pop("target", None), settings.pop("additional_forward_args", None)
        maps = []
        for i in range(len(inputs)):
            task = Task(self.forward_func, inputs, target, more)
            labels, name = task.labels, task.names[i]
            window = each["sliding_window_shapes"][i]
            window = (window if isinstance(window, tuple) else (window,)) or (1,)
            stride = each["strides"][i]
            base = each["baselines"][i]
            method = hm.Occlusion(
                features=Columns(), window=window, stride=1 if stride is None else stride,
                baseline=0.0 if base is None else _rows_or_one(base, task.inputs[i]),
            )  # fmt: skip
            given = {**dict(zip(task.names, task.inputs, strict=True)), **task.others}
            with evaluated(task.net):
                if task.inputs[i].dim() == 1:  # a number a sample
                    model = Bound(task.net, at=[name], given=given, output=flat)
                    maps.append(method(model, model.inputs(), labels)[:, 0])
                else:
                    maps.append(method(Bound(task.net, at=name, given=given, output=flat), task.inputs[i], labels))
        return tuple(maps)


class LRP(Explainer):
    positional = ("target", "additional_forward_args")

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        for module in model.modules():
            if hasattr(module, "rule") and type(module.rule).__name__ not in RULES:
                raise TypeError("a rule")

    def recipe(self, task: Task, verbose: bool = False) -> Any:
        net = task.net
        layers = {name: RULES[type(m.rule).__name__](m.rule) for name, m in net.named_modules() if hasattr(m, "rule")}
        plain = Epsilon(epsilon=1e-9, stabilizer="absolute")
        linear = {
            n: r for n, r in layers.items() if isinstance(net.get_submodule(n), (nn.Linear, nn.modules.conv._ConvNd))
        }
        return hm.LRP(composite=Composite(convolution=plain, dense=plain, layers=linear))

    def delta(self, task: Task, found: Any, settings: dict[str, Any]) -> Tensor:
        with torch.no_grad(), evaluated(task.net):
            score = task.model(task.x).gather(1, torch.as_tensor(task.labels).expand(len(task.x))[:, None])[:, 0]
        return score - sum(one.flatten(1).sum(1) for one in tensors(found))


RULES: dict[str, Callable[[Any], Any]] = {
    "EpsilonRule": lambda rule: Epsilon(epsilon=rule.STABILITY_FACTOR, stabilizer="absolute"),
    "GammaRule": lambda rule: Gamma(gamma=rule.gamma, epsilon=1e-9, stabilizer="absolute"),
    "Alpha1_Beta0_Rule": lambda rule: AlphaBeta(alpha=1.0, beta=0.0, epsilon=1e-9, stabilizer="absolute"),
    "IdentityRule": lambda rule: Pass(),
}


# -- layers ---------------------------------------------------------------------------------------------------------


def named(net: nn.Module, layer: Any) -> str:
    name = next((name for name, module in net.named_modules() if module is layer), None)
    if name is None:
        raise LeftOutError("a layer that is none of the model's")
    return name


def place(net: nn.Module, layer: Any, into: bool) -> str:
    if isinstance(layer, (list, tuple)):
        raise LeftOutError("several layers of a neuron")
    return f"{named(net, layer)}(0)" if into else named(net, layer)


def places(net: nn.Module, arguments: tuple[Any, ...], layer: Any, into: bool) -> tuple[Any, Any]:
    """Where a layer, or several, are explained, and how Captum groups them: a number of tensors each, None for one."""
    layers = layer if isinstance(layer, list) else [layer]
    counts: dict[int, int | None] = {}

    def look(module: nn.Module, args: Any, out: Any) -> None:
        seen = args if into else out
        counts[id(module)] = len(seen) if isinstance(seen, tuple) and (not into or len(seen) > 1) else None

    handles = [one.register_forward_hook(look) for one in layers]
    with torch.no_grad(), evaluated(net):
        net(*arguments)
    for handle in handles:
        handle.remove()
    found: list[str] = []
    for one in layers:
        name, count = named(net, one), counts[id(one)]
        if into:
            found += [f"{name}({i})" for i in range(count or 1)]
        else:
            found += [name] if count is None else [f"{name}[{i}]" for i in range(count)]
    shapes = [counts[id(one)] for one in layers]
    return (found[0] if len(found) == 1 else found), (shapes if isinstance(layer, list) else shapes[0])


class LayerTask(Task):
    groups: Any = None

    def back(self, maps: Tensor) -> Any:
        maps = maps.expand_as(self.x)
        if self.groups is None:
            return maps
        parts = list(self.model.parts(maps).values()) if self.model.several else [maps]
        if isinstance(self.groups, int):
            return tuple(parts)
        grouped, start = [], 0
        for count in self.groups:
            grouped.append(parts[start] if count is None else tuple(parts[start : start + count]))
            start += count or 1
        return grouped


class LayerExplainer(Explainer):
    """A layer's output is explained: `Bound(net, at=layer, given=…)` at its `inputs()`."""

    inner: type[Explainer]

    def __init__(self, forward_func: Any, layer: Any, *args: Any, **settings: Any) -> None:
        super().__init__(forward_func, **settings)
        self.layer = layer

    together = False  # whether several layers are one explained tensor, or explained one after the other

    def attribute(self, inputs: Any, *args: Any, attribute_to_layer_input: bool = False, **settings: Any) -> Any:
        if isinstance(self.layer, list) and not self.together:
            each = [copy(self) for _ in self.layer]
            for one, layer in zip(each, self.layer, strict=True):
                one.layer = layer
            settings["attribute_to_layer_input"] = attribute_to_layer_input
            found = [one.attribute(inputs, *args, **settings) for one in each]
            if settings.get("return_convergence_delta"):
                return [maps for maps, _ in found], [delta for _, delta in found]
            return found
        self.into = attribute_to_layer_input
        settings = dict(zip(self.positional, args, strict=False)) | settings
        self.into = settings.pop("attribute_to_layer_input", self.into)
        return super().attribute(inputs, **settings)

    def task(self, inputs: Any, target: Any, more: Any) -> Task:
        extra = () if more is None else more if isinstance(more, tuple) else (more,)
        at, groups = places(as_model(self.forward_func), (*tensors(inputs), *extra), self.layer, self.into)
        task = LayerTask(self.forward_func, inputs, target, more, at=at)
        task.groups = groups
        return task

    def at_layer(self, task: Task, given: Any) -> Any:
        """What the layer makes of baselines of the inputs."""
        values = given if isinstance(given, tuple) else (given,) * len(task.inputs)
        inputs = tuple(
            torch.as_tensor(0.0 if v is None else v, dtype=one.dtype).expand_as(one)
            for v, one in zip(values, task.inputs, strict=True)
        )
        return hb.PerSample(LayerTask(self.forward_func, inputs, None, task.more or None, at=task.model.at).x)

    def recipe(self, task: Task, **settings: Any) -> Any:
        settings.pop("grad_kwargs", None)
        inner = self.inner(self.forward_func, multiply_by_inputs=self.multiplies_by_inputs)
        if "baselines" in signature(inner.recipe).parameters:
            settings["baselines"] = self.at_layer(task, settings.get("baselines"))
            task.baseline = lambda given: given  # type: ignore[method-assign]  # it is one already
        return inner.recipe(task, **settings)

    def delta(self, task: Task, found: Any, settings: dict[str, Any]) -> Tensor:
        base = self.at_layer(task, settings.get("baselines"))
        with torch.no_grad(), evaluated(task.net):
            labels = torch.as_tensor(task.labels).expand(len(task.x))
            promised = (task.model(task.x) - task.model(base(task.x))).gather(1, labels[:, None])[:, 0]
        parts = found if isinstance(found, list) else [found]
        return sum(one.flatten(1).sum(1) for part in parts for one in tensors(part)) - promised


class LayerIntegratedGradients(LayerExplainer):
    together = True
    inner, positional = (
        IntegratedGradients,
        (*IntegratedGradients.positional, "return_convergence_delta", "attribute_to_layer_input"),
    )


class LayerDeepLift(LayerExplainer):
    def found(self, task: Task, **settings: Any) -> Any:
        func = settings.get("custom_attribution_func")
        base = settings.get("baselines")
        multipliers = super().found(task, **settings)
        if func is None:
            return multipliers
        made = func((multipliers,), (task.x,), (self.at_layer(task, base)(task.x),))
        return made[0]

    inner = DeepLift
    positional = (*DeepLift.positional, "return_convergence_delta", "attribute_to_layer_input")


class LayerGradientXActivation(LayerExplainer):
    positional = ("target", "additional_forward_args", "attribute_to_layer_input")

    def recipe(self, task: Task, grad_kwargs: Any = None) -> Any:
        return hm.GradientXInput() if self.multiplies_by_inputs else hm.Gradient()


class LayerActivation(LayerExplainer):
    positional = ("additional_forward_args", "attribute_to_layer_input")

    def found(self, task: Task, **_: Any) -> Any:
        return task.back(task.x)


class LayerLRP(LayerExplainer):
    positional = ("target", "additional_forward_args")

    def __init__(self, forward_func: Any, layer: Any) -> None:
        super().__init__(forward_func, layer)
        LRP(forward_func)

    def recipe(self, task: Task, verbose: bool = False) -> Any:
        rules = LRP(self.forward_func).recipe(task)
        order: list[nn.Module] = []
        handles = [m.register_forward_hook(lambda m, *_: order.append(m)) for m in task.net.modules()]
        with torch.no_grad(), evaluated(task.net):
            task.net(*task.inputs, *task.more)
        for handle in handles:
            handle.remove()
        layers = self.layer if isinstance(self.layer, list) else [self.layer]
        behind = order[max(order.index(one) for one in layers) + (not self.into) :]
        kept = {name: rule for name, rule in rules.composite.layers if task.net.get_submodule(name) in behind}
        return replace(rules, composite=replace(rules.composite, layers=kept))

    def delta(self, task: Task, found: Any, settings: dict[str, Any]) -> Tensor:
        return LRP(self.forward_func).delta(task, found, settings)


class LayerFeatureAblation(LayerExplainer):
    positional = ("layer_baselines", "target", "additional_forward_args", "layer_mask", "attribute_to_layer_input")

    def recipe(
        self, task: Task, layer_baselines: Any = None, layer_mask: Any = None, perturbations_per_eval: int = 1
    ) -> Any:
        if _differ(layer_mask):
            raise LeftOutError("segments of each sample's own, where samples are not explained one by one")
        features = Columns() if layer_mask is None else Segments(tensors(layer_mask)[0][0].expand(task.x.shape[1:]))
        base = 0.0 if layer_baselines is None else tensors(layer_baselines)[0]
        return hm.Occlusion(features=features, window=1, stride=1, baseline=base)

    found = FeatureAblation.found


class LayerGradCam(LayerExplainer):
    positional = ("target", "additional_forward_args", "attribute_to_layer_input", "relu_attributions")

    def __init__(self, forward_func: Any, layer: Any, device_ids: Any = None) -> None:
        super().__init__(forward_func, layer, multiply_by_inputs=False)

    def task(self, inputs: Any, target: Any, more: Any) -> Task:
        return Task(self.forward_func, inputs, target, more)

    def found(
        self, task: Task, relu_attributions: bool = False, attr_dim_summation: bool = True, grad_kwargs: Any = None
    ) -> Any:
        if not attr_dim_summation:
            raise LeftOutError("Grad-CAM's terms before their sum over channels")
        if task.packed or task.x.dim() < 3:
            raise LeftOutError("Grad-CAM where nothing has positions")
        name = place(task.net, self.layer, self.into)
        layout = "channels-first" if self.into else None
        with evaluated(task.net):
            method = hm.GradCAM(layer=name, relu=relu_attributions, layout=layout)
            return method.in_layer(task.model, task.x, task.labels)[:, None]


class GuidedGradCam(Explainer):
    positional = ("target", "additional_forward_args", "interpolate_mode", "attribute_to_layer_input")

    def __init__(self, model: nn.Module, layer: Any, device_ids: Any = None) -> None:
        super().__init__(model, multiply_by_inputs=False)
        self.layer = layer

    def recipe(self, task: Task, interpolate_mode: str = "nearest", attribute_to_layer_input: bool = False) -> Any:
        if interpolate_mode == "nearest" or task.packed or attribute_to_layer_input:
            raise LeftOutError("guided Grad-CAM enlarged to the nearest places, or of several inputs")
        return hm.GuidedGradCAM(layer=place(task.net, self.layer, False))


# -- neurons --------------------------------------------------------------------------------------------------------


def _of_neuron(selector: Any) -> Any:
    if callable(selector):
        return Function(lambda h: _of_each(selector(h)))
    entries = selector if isinstance(selector, tuple) else (selector,)
    if any(isinstance(one, slice) for one in entries):
        return Function(lambda h: h[(slice(None), *entries)].flatten(1).sum(1))
    return Index(tuple(int(one) for one in entries), labels=0)


def _of_each(chosen: Tensor) -> Tensor:
    if chosen.dim() == 0:
        raise LeftOutError("a neuron chosen by a sum over the batch")
    return chosen


class NeuronExplainer(Explainer):
    """Inputs are explained for a neuron: `Bound(net, layer=…, reduction="none")` and a target that picks it."""

    inner: type[Explainer]

    def __init__(self, model: Any, layer: Any, *args: Any, **settings: Any) -> None:
        super().__init__(model, **settings)
        self.layer = layer

    def attribute(
        self, inputs: Any, neuron_selector: Any, *args: Any, additional_forward_args: Any = None,
        attribute_to_neuron_input: bool = False, **settings: Any,
    ) -> Any:  # fmt: skip
        settings = dict(zip(self.positional, args, strict=False)) | settings
        additional_forward_args = settings.pop("additional_forward_args", additional_forward_args)
        into = settings.pop("attribute_to_neuron_input", attribute_to_neuron_input)
        name = place(as_model(self.forward_func), self.layer, into)
        target = _of_neuron(neuron_selector)
        task = Task(self.forward_func, inputs, target, additional_forward_args, layer=name, reduction="none")
        inner = self.inner(self.forward_func, multiply_by_inputs=self.multiplies_by_inputs)
        try:
            return inner.found(task, **settings)
        except AssertionError as error:
            if "dimensions after that of the samples" not in str(error):
                raise
            entries = neuron_selector if isinstance(neuron_selector, tuple) else (neuron_selector,)
            task.target = Function(lambda h: h[(slice(None), *entries)].flatten(1).sum(1))
            return inner.found(task, **settings)


class _Gradient(Slopes):
    def recipe(self, task: Task) -> Any:
        return hm.Gradient()


class NeuronGradient(NeuronExplainer):
    positional = ("additional_forward_args", "attribute_to_neuron_input")

    inner = _Gradient

    def __init__(self, model: Any, layer: Any) -> None:
        super().__init__(model, layer, multiply_by_inputs=False)


class NeuronIntegratedGradients(NeuronExplainer):
    inner = IntegratedGradients
    positional = (
        "baselines",
        "additional_forward_args",
        "n_steps",
        "method",
        "internal_batch_size",
        "attribute_to_neuron_input",
    )


class NeuronDeepLift(NeuronExplainer):
    inner = DeepLift
    positional = ("baselines", "additional_forward_args", "attribute_to_neuron_input", "custom_attribution_func")


class NeuronDeepLiftShap(NeuronExplainer):
    inner = DeepLiftShap
    positional = ("baselines", "additional_forward_args", "attribute_to_neuron_input", "custom_attribution_func")


class NeuronGradientShap(NeuronExplainer):
    inner = GradientShap
    positional = ("baselines", "n_samples", "stdevs", "additional_forward_args", "attribute_to_neuron_input")


class NeuronFeatureAblation(NeuronExplainer):
    def attribute(self, inputs: Any, neuron_selector: Any, *args: Any, **settings: Any) -> Any:
        settings = dict(zip(self.positional, args, strict=False)) | settings
        if not _differ(settings.get("feature_mask")):
            return super().attribute(inputs, neuron_selector, **settings)
        count = len(tensors(inputs)[0])
        each = [
            super(NeuronFeatureAblation, self).attribute(
                _sample(inputs, i, count), neuron_selector, **{k: _sample(v, i, count) for k, v in settings.items()}
            )
            for i in range(count)
        ]
        if isinstance(inputs, tuple):
            return tuple(torch.cat(parts) for parts in zip(*each, strict=True))
        return torch.cat(each)

    inner = FeatureAblation
    positional = (
        "baselines",
        "additional_forward_args",
        "feature_mask",
        "attribute_to_neuron_input",
        "perturbations_per_eval",
    )


class NeuronGuidedBackprop(NeuronExplainer):
    inner = GuidedBackprop
    positional = ("additional_forward_args", "attribute_to_neuron_input")


class NeuronDeconvolution(NeuronExplainer):
    inner = Deconvolution
    positional = ("additional_forward_args", "attribute_to_neuron_input")


def _left_out(name: str, reason: str) -> type:
    def refuse(self: Any, *_: Any, **__: Any) -> None:
        raise LeftOutError(reason)

    return type(name, (Explainer,), {"__init__": refuse})


_CONDUCTANCE = "a path of the inputs, weighed in a layer; a path of the layer itself is IntegratedGradients there"
_AT_LAYER = "a distribution of inputs at a layer"
LayerConductance = _left_out("LayerConductance", _CONDUCTANCE)
NeuronConductance = _left_out("NeuronConductance", _CONDUCTANCE)
InternalInfluence = _left_out("InternalInfluence", _CONDUCTANCE)
LayerGradientShap = _left_out("LayerGradientShap", _AT_LAYER)
LayerDeepLiftShap = _left_out("LayerDeepLiftShap", _AT_LAYER)

CLASSES: dict[str, type] = {
    kind.__name__: kind
    for kind in list(globals().values())
    if isinstance(kind, type)
    and (issubclass(kind, Explainer))
    and kind not in (Explainer, Slopes, _Gradient, LayerExplainer, NeuronExplainer)
}
