"""LRP as a strategy of the engine: rules of a composite, with what is known of the tensors on the way."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

from heatproof.errors import OperationError
from heatproof.propagation import multilinear, normalization
from heatproof.propagation.calls import Call
from heatproof.propagation.carried import AVERAGES, Known, Masked, Split, mapped
from heatproof.propagation.composites import Composite
from heatproof.propagation.decompositions import is_linear
from heatproof.propagation.facts import Facts
from heatproof.propagation.first_rules import Box, FirstRule
from heatproof.propagation.linear import Linear, linear_of
from heatproof.propagation.nodes import Held, Kept, Loss, graft, postpone, scale
from heatproof.propagation.rules import Epsilon, Pass, Rule
from heatproof.propagation.shared import keeps_rows, rowwise
from heatproof.propagation.signs import Signs
from heatproof.propagation.strategy import Strategy
from heatproof.propagation.sums import damping
from heatproof.propagation.terms import Ledger, Share, Term
from heatproof.propagation.unsupported import UnsupportedCallError

STEEPEST = 1e9
GATES = ("sigmoid", "hardsigmoid", "softmax")
HOMOGENEOUS = ("relu", "leaky_relu", "prelu", "abs", "absolute", "rrelu")  # f(x)/x is the derivative already


class Made(NamedTuple):
    """A tensor that a linear operation made: which, what has its plain derivative, if that was built, and its rule.

    `factor` is ε's, made when the tensor is read by what does not go into the operation, as a batch norm does.
    """

    linear: Linear
    plain: Tensor | None
    rule: Rule
    own: bool  # whether the rule is that of a named layer
    factor: Held | None = None


def ratio(y: Tensor, x: Tensor) -> Tensor:
    """f(x)/x for y = f(x), with 0/0 = 0, and at most STEEPEST where x vanishes and y does not (σ(0) = ½)."""
    steep = (y / (x + 0.0)).masked_fill_(y == 0, 0.0)  # sign(0) = +1, also of −0: −0 + 0 is 0
    return steep.clamp_(-STEEPEST, STEEPEST)


def _innermost(names: Mapping[int, str]) -> str | None:
    """The innermost of these modules whose code is running now."""
    frame = sys._getframe(1)
    while frame is not None:
        if (name := names.get(id(frame.f_locals.get("self")))) is not None:
            return name
        frame = frame.f_back  # type: ignore[assignment]
    return None


class Relevance(Strategy):
    """LRP. The derivative towards the mask m = 1 on the input is the relevance (x = m ⊙ input is what the model sees).

    Linear operations take the composite's rules; nonlinearities f(x)/x; residual sums, pooling by averages,
    concatenation and rearrangement the ordinary derivative, which shares in proportion to the values; max-pooling its
    winner; softmax its ordinary derivative times x (AttnLRP, eq. 13); normalizations hold their denominator (AttnLRP,
    Prop. 3.4); a product of two values that both depend on the input gives each half, a gate nothing; a quotient gives
    all to its numerator.
    """

    label: ClassVar[str] = "LRP"
    holds_choices: ClassVar[bool] = True

    def __init__(
        self, composite: Composite, mask: Tensor, channels: tuple[int, ...] = (), network: nn.Module | None = None
    ) -> None:
        self.composite, self._mask, self._channels = composite, mask, channels
        self._layers = composite.by_name
        self._names = {id(one): name for name, one in network.named_modules()} if network and self._layers else {}
        self._unused = set(self._layers)
        self.ledger = Ledger(len(mask))
        self.first_seen = composite.first is None
        self._made: Facts[Made] = Facts()
        self._known = Known()
        self._kept: Facts[Kept] = Facts()
        self._rectified: Kept | None = None  # what a ReLU is being written into
        self._gates: Facts[bool] = Facts()
        self._signs = Signs()
        self._ordered = True  # every tensor so far has the samples as its rows, as far as is known

    def begin(self, x: Tensor) -> None:
        first = self.composite.first
        if first is None:  # which alone asks what is the input still
            return
        box = first.bounds(x.detach(), self._channels) if isinstance(first, Box) else None
        self._known.masked[x] = Masked(self._mask, box)

    def check(self, outputs: Tensor) -> None:
        """Refuse a network in which a rule never applied. From now on its outputs may be written into."""
        self._settle([outputs], "")
        if self._unused:
            raise OperationError(
                f"Expected linear operations in {', '.join(map(repr, sorted(self._unused)))}, which have a rule of "
                "their own, but none ran there; name the modules that call them, as in model.named_modules()."
            )
        if not self.first_seen:
            raise OperationError(
                f"Expected a linear operation on the explained input for the rule {self.composite.first}, but a "
                "nonlinear one comes first; choose a composite without a rule for the first layer."
            )

    # -- the engine's protocol ------------------------------------------------------------------------------------

    def handle(self, call: Call) -> Any:
        before, self._ordered = self._ordered, self._ordered and rowwise(call)
        above = self._signs.tells(call)  # before a call in place writes
        result = self._handled(call)
        if above:
            self._signs.note(result)
        self._ordered = self._ordered or (before and keeps_rows(call, result))
        return result

    def _handled(self, call: Call) -> Any:
        if (out := self._taken_in(call)) is not None:
            return out
        self._settle(call.inputs, call.name)
        linear = linear_of(call)
        if linear is not None:
            return self._linear(linear, call)
        match call.kind:
            case "nonlinearity":
                return self._nonlinearity(call)
            case "batch-norm":
                return self._batch_norm(call)
            case "product" | "linear" | "convolution":
                return self._product(call)
            case "normalization":
                return normalization.of(call).held(call.value(), call.inputs[0])
            case "structural" | "sum":
                epsilon = self._stabilizer(call)
                result = self._stabilized(call, epsilon) if epsilon else call.execute()
                self._known.carry(call, result)
                if epsilon and (split := self._known.split.get(result)) is not None:
                    # What reads the parts reads the moving one: it carries the stabilizer's loss, too.
                    moving = scale(split.moving, split.moving, damping(result.detach(), epsilon))
                    self._known.split[result] = Split(moving, split.constant)
                return result
            case "softmax":
                out = call.execute()
                self._gates[out] = True
                return out
            case "prod":
                product: Tensor = call.run(*call.inputs)
                return graft(product, product / multilinear.counts(call, product))
            case "norm" | "variance" | "logsumexp" | "max-pool" | "choice" | "write":
                return call.execute()
            case "map" if is_linear(call):
                return call.execute()
        raise UnsupportedCallError("")

    def foresee(self, call: Call) -> None:
        self._settle(call.inputs, call.name)

    def before_write(self, call: Call) -> None:
        kept = self._kept.get(call.target)
        self._settle([call.target], call.name)
        self._rectified = kept if call.name == "relu" and kept is not None and kept.rectified else None
        if kept is not None and self._rectified is None:
            kept.secure()

    def after_write(self, target: Tensor, new: Tensor) -> None:
        if self._rectified is not None:
            self._rectified.follow()
            self._kept[target] = self._rectified
        if new is not target:
            self._hand_over(new, target)

    def _hand_over(self, known: Tensor, other: Tensor) -> None:
        if (kept := self._kept.get(known)) is not None:
            kept.read("")  # who reads the other tensor is not told to it
        for facts in (self._made, self._known.split, self._known.masked, self._gates, self._signs):
            facts.hand_over(known, other)

    def grafted(self, call: Call, outputs: list[Tensor], decomposed: list[Tensor]) -> None:
        for known, output in zip(decomposed, outputs, strict=True):
            self._hand_over(known, output)

    # -- one kind after the other ---------------------------------------------------------------------------------

    def _linear(self, linear: Linear, call: Call) -> Tensor:
        rule, own = self._rule(linear)
        first = self._known.masked.get(linear.x) if self.composite.first is not None and not own else None
        split = self._known.split.get(linear.x)
        if split is not None:
            linear.x, linear.constant = split.moving, split.constant
        elif self._signs.above(linear.x):
            linear.above = True
        if isinstance(rule, Pass):
            return self._passed(linear, call.value())
        if first is None and isinstance(rule, Epsilon) and split is None:
            plain: Tensor = call.execute()
            return self._damped(rule, plain, plain, Made(linear, plain, rule, own))
        return self._ruled(linear, call.value(), first, rule, own)

    def _rule(self, linear: Linear) -> tuple[Rule, bool]:
        """The rule for a linear operation, and whether it is that of a named layer."""
        name = _innermost(self._names) if self._names else None
        if name in self._layers:
            self._unused.discard(name)
            return self._layers[name], True
        return (self.composite.convolution if linear.convolution else self.composite.dense), False

    def _passed(self, linear: Linear, value: Tensor) -> Tensor:
        """Relevance goes through as it is."""
        self.first_seen = True
        if linear.x.shape != value.shape:
            raise OperationError(
                f"Expected a layer whose outputs have the shape of its inputs for the rule Pass(), but it takes "
                f"{tuple(linear.x.shape)} and gives {tuple(value.shape)}."
            )
        return scale(value, linear.x, ratio(value, linear.x.detach()))

    def _ruled(self, linear: Linear, value: Tensor, first: Masked | None, rule: Rule, own: bool) -> Tensor:
        """`value` with the derivative of the rule for `linear`."""
        if first is not None:
            return self._first(linear, value, first, rule)
        assert not isinstance(rule, Pass)  # which no operation is folded into
        self.first_seen = self.first_seen or self._known.masked.get(linear.x) is not None
        made = Made(linear, None, rule, own)
        if isinstance(rule, Epsilon):
            return self._damped(rule, value, linear.apply(linear.x, linear.weight), made)
        bounded, y = linear.bounded(value)
        kept = Kept(y, lambda: bounded.value(linear.x))

        def surrogate(y: Tensor, x: Tensor) -> Sequence[Term | Share]:
            return rule.surrogate(replace(bounded, rectified=kept.rectified), y, x)

        out = postpone(value, kept, surrogate, [linear.x], self._loss())
        self._kept[out], self._made[out] = kept, made
        return out

    def _damped(self, rule: Epsilon, value: Tensor, plain: Tensor, made: Made) -> Tensor:
        """`value` with the derivative of `plain` times the factor of ε's rule."""
        y = value.detach()
        factor = Held(lambda: rule.factor(*made.linear.bounded(y)))
        out = scale(value, plain, factor)
        self._made[out] = made._replace(factor=factor)
        return out

    def _settle(self, tensors: Sequence[Tensor], by: str) -> None:
        """Make the factors of tensors that are read, or about to be written into, by an operation of this name."""
        for tensor in tensors:
            if (kept := self._kept.get(tensor)) is not None:
                kept.read(by)
            if (made := self._made.get(tensor)) is not None and made.factor is not None:
                made.factor.get()

    def _first(self, linear: Linear, value: Tensor, first: Masked, kind: Rule) -> Tensor:
        rule: FirstRule | None = self.composite.first
        assert rule is not None
        self.first_seen = True
        bounded, y = linear.bounded(value)
        kept = Kept(y, lambda: bounded.value(linear.x))

        def surrogate(y: Tensor, mask: Tensor) -> list[Share]:
            if isinstance(rule, Box):
                assert first.box is not None
                return rule.surrogate(bounded, y, mask, *first.box)
            return rule.surrogate(bounded, y, mask)

        out = postpone(value, kept, surrogate, [first.mask], self._loss())
        self._kept[out] = kept
        self._made[out] = Made(linear, None, kind, False)
        return out

    def _loss(self) -> Loss:
        return Loss(self.ledger, self._ordered)

    def _stabilizer(self, call: Call) -> float:
        """The ε of average pooling and of sums of two tensors that depend on the input."""
        if call.name in AVERAGES:
            return self.composite.pooling_epsilon
        if call.inputs[0].is_complex():  # which have no sign that a stabilizer could take
            return 0.0
        return self.composite.sum_epsilon if call.name == "add" and len(call.inputs) == 2 else 0.0

    def _stabilized(self, call: Call, epsilon: float) -> Tensor:
        plain = call.run(*call.inputs)
        return scale(plain, plain, damping(plain.detach(), epsilon))

    def _nonlinearity(self, call: Call) -> Tensor:
        if len(call.inputs) != 1:
            raise UnsupportedCallError("more than one of its arguments depends on the input")
        x = call.inputs[0]
        split, masked = self._known.split.get(x), self._known.masked.get(x)
        if call.name in HOMOGENEOUS and split is None:
            out: Tensor = call.execute()
        else:
            value = call.value()
            slope = ratio(value, x.detach())
            out = scale(value, x, slope)
            if split is not None:
                self._known.split[out] = Split(split.moving * slope, split.constant * slope)
        if call.name in GATES:
            self._gates[out] = True
        if masked is not None:  # still one number a feature: the first linear operation comes later
            self._known.masked[out] = Masked(masked.mask, mapped(call, masked.box, out))
        return out

    def _batch_norm(self, call: Call) -> Tensor:
        """One that no operation before it takes in: its shift is carried along."""
        x = call.inputs[0]
        if self.composite.batch_norm == "pass":
            normalization.refuse_batch_statistics(call)
            value = call.value()
            return scale(value, x, ratio(value, x.detach()))
        gain, shift = (normalization.along(channels, x) for channels in normalization.batch_norm_of(call))
        out, constant = scale(call.value(), x, gain), shift.expand_as(x)
        previous = self._known.split.get(x)
        if previous is not None:
            x, constant = previous.moving, constant + previous.constant * gain
        self._known.split[out] = Split(x * gain, constant)
        return out

    def _taken_in(self, call: Call) -> Tensor | None:
        """The result of a call that the linear operation before it takes into itself; None for any other call."""
        alone = len(call.inputs) == 1 and call.inputs[0] is call.target
        made = self._made.get(call.target) if alone else None
        if made is None:
            return None
        if call.kind == "batch-norm" and self.composite.batch_norm == "fold":
            return self._normalized(call, made)
        return self._shifted(call, made) if call.kind == "sum" and call.name in ("add", "sub") else None

    def _normalized(self, call: Call, made: Made) -> Tensor | None:
        """A batch norm: a scale of the weight, and a bias."""
        gain, shift = normalization.batch_norm_of(call)
        folded, plain = made.linear.scaled(gain, shift, call.constants), made.plain
        if folded is None:
            return None
        if plain is not None:
            plain = scale(plain, plain, normalization.along(gain, plain))  # of which nobody reads the value
        return self._folded(call, folded, plain, made)

    def _shifted(self, call: Call, made: Made) -> Tensor | None:
        """A constant a channel, added: a bias, written by itself."""
        given, linear = call.bind(), made.linear
        if (shift := linear.channels(given.get("other"), call.target.dim())) is None:
            return None
        shift = shift * given.get("alpha", 1) * (1 if call.name == "add" else -1)
        bias = shift if linear.bias is None else linear.bias + shift
        return self._folded(call, replace(linear, bias=bias, added=(*linear.added, *call.constants)), made.plain, made)

    def _folded(self, call: Call, folded: Linear, plain: Tensor | None, made: Made) -> Tensor:
        """The result of a call that a linear operation has taken in; `plain` has its plain derivative."""
        rule, own = made.rule, made.own
        first = self._known.masked.get(folded.x) if self.composite.first is not None and not own else None
        if first is not None or not isinstance(rule, Epsilon) or plain is None:
            return self._ruled(folded, call.value(), first, rule, own)
        return self._damped(rule, call.value(), plain, Made(folded, plain, rule, own))

    def _product(self, call: Call) -> Tensor:
        if len(call.inputs) == 1:
            return self._rescaled(call) if call.kind == "product" else call.execute()
        if call.name in ("div", "rdiv"):
            top, bottom = call.inputs
            top, bottom = (top, bottom.detach()) if call.name == "div" else (top.detach(), bottom)
            quotient: Tensor = call.run(top, bottom)
            return quotient
        if len(call.inputs) != 2:
            many: Tensor = call.execute()
            return graft(many, many / len(call.inputs))
        a, b = call.inputs
        gates = [self._gates.get(t) is not None for t in (a, b)]
        if call.name == "mul" and self.composite.gates == "signal" and gates[0] != gates[1]:
            a, b = (a.detach(), b) if gates[0] else (a, b.detach())
            gated: Tensor = call.run(a, b)
            return gated
        plain: Tensor = call.run(a, b)
        return scale(plain, plain, 0.5)

    def _rescaled(self, call: Call) -> Tensor:
        """An elementwise product with, or quotient of, a constant."""
        x = call.inputs[0]
        if call.name == "rdiv" or (call.name == "div" and call.position(x) == 1):
            value = call.value()
            return scale(value, x, ratio(value, x.detach()))
        masked = self._known.masked.get(x)
        out: Tensor = call.execute()
        if masked is not None:
            self._known.masked[out] = Masked(masked.mask.expand_as(out), mapped(call, masked.box, out))
        return out
