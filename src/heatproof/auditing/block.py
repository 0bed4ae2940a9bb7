"""One block of samples through every state, method and check that still misses rows.

States are the outer loop and methods the inner one: a map is computed once a state and method, and read by every check
that wants it. Nothing here knows of files or of other blocks.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial, reduce
from itertools import combinations, zip_longest
from typing import Any

import torch
from torch import Tensor, nn

from heatproof import draws, prefix, sharing
from heatproof.auditing import foreign
from heatproof.auditing.entries import Condition, NamedCheck, NamedMethod, Question
from heatproof.auditing.gathering import Finished, Gathering, Stopwatch, on_host
from heatproof.auditing.learning import Learned, ready
from heatproof.auditing.maps_needed import methods_needed
from heatproof.auditing.plan import Plan
from heatproof.auditing.samples import Samples, filled
from heatproof.auditing.shrinking import Shrinking, portions, splits
from heatproof.checks.base import Block, Maps, Scores, State
from heatproof.draws import reseed, standing_for
from heatproof.errors import AuditError, InputError, bounded, shown
from heatproof.methods.base import Attribution, Explanation, Method
from heatproof.methods.given import Given
from heatproof.metrics import EXCLUDE
from heatproof.models import forward, within_bound
from heatproof.propagation import independence
from heatproof.randomization.stages import kept_bytes
from heatproof.refusals import check_dense, look, looked
from heatproof.rows import Role
from heatproof.runs.workers import Failure, failure
from heatproof.state import unchanged
from heatproof.undo import interrupt_behind

Heard = Callable[[str, float], None]  # hears of each map or work of a check, and its passes


def run_block(
    plan: Plan,
    number: int,
    samples: Samples,
    learned: Learned,
    missing: Collection[str],
    heard: Heard,
    shrinking: Shrinking | None = None,
) -> Iterator[Finished]:
    """The missing rows of block `number`, state by state; `shrinking` is what its worker has come down to."""
    run = _BlockRun(plan, number, samples, learned, missing, heard, shrinking or Shrinking(plan.shrinks))
    needed = methods_needed(plan, plan.asked(missing), learned.lost)
    wanted = [one for one in plan.conditions if needed[one.id] or run.wants(one, "")]
    for condition, following in zip_longest(wanted, wanted[1:]):
        yield run.in_condition(condition, needed[condition.id], following)


def _works_alone(device: torch.device) -> bool:
    """Whether the host has nothing to do while a device works."""
    return device.type != "cpu"


class _Kept(dict[str, Maps]):
    """Maps of one method by state. One that is not there is no fault of who asks for it."""

    def __missing__(self, state: str) -> Maps:
        raise AuditError(f"Expected maps in state {state!r} to compare with, but making them failed.")


class _BlockRun:
    """The samples of one block, what is still to be computed for them, and the maps that later states look back to."""

    def __init__(
        self,
        plan: Plan,
        number: int,
        samples: Samples,
        learned: Learned,
        missing: Collection[str],
        heard: Heard,
        shrinking: Shrinking,
    ) -> None:
        self.plan, self.learned, self.heard, self.shrinking = plan, learned, heard, shrinking
        self.wanted = {plan.questions[key]: key for key in missing}
        self.open = {key[:2] for key in self.wanted}  # checks and states that miss anything
        # A block is always full, because the bits of a result depend on how many rows a pass has.
        rows = filled(len(samples.ids), plan.batch)
        self.samples = samples.ids
        self.model = plan.bound(number, samples)
        self.inputs, self.targets = samples.inputs[rows], samples.targets[rows]
        places = rows.tolist()
        draws.name(self.inputs, [str(samples.rows[i]["digest"]) for i in places])
        self.boxes = None if samples.boxes is None else [samples.boxes[i] for i in places]
        self.masks = None if samples.masks is None else samples.masks[rows.to(samples.masks.device)]
        self.kept: dict[tuple[str, str], Maps] = {}
        self.passes = self._passes()

    def _passes(self) -> prefix.Kept | None:
        """Who keeps passes, where some state changes a part of the network alone, and that is a pure function."""
        settled = independence.known(self.model)
        partly = any(
            state.kind == Role.RANDOMIZED and not state.complete and (check.label, state.name) in self.open
            for condition in self.plan.conditions
            for check, state in condition.readers
        )
        if not partly or settled is None or settled.leaves_traces:
            return None
        device = self.inputs.device
        return prefix.Kept(self.model, self.inputs, prefix.room(kept_bytes(device), device))

    def wants(self, condition: Condition, method: str) -> bool:
        """Whether any check misses rows about `method` here."""
        return any((check.label, state.name, method, "") in self.wanted for check, state in condition.readers)

    def in_condition(
        self, condition: Condition, methods: Iterable[NamedMethod], following: Condition | None = None
    ) -> Finished:
        """What the model gives in this state; a state that cannot be opened, or be left, costs its own rows alone.

        What the one `following` needs is drawn meanwhile, where the host has nothing else to do.
        """
        given = Gathering(condition, self.samples)
        ours = all(foreign.is_ours(check.recipe) for check, _ in condition.readers)
        as_it_was = nullcontext() if ours else unchanged(self.plan.model, self.inputs.device, everything=True)
        try:
            keeping = nullcontext() if self.passes is None else self.passes.opened()
            with as_it_was, condition.state.open(self.plan.model), keeping:
                if following is not None and _works_alone(self.inputs.device):
                    following.state.ahead()
                self._in_state(condition, methods, given)
        except AuditError:
            raise
        except Exception as error:  # whatever it is, other states have rows, too
            if (interrupt := interrupt_behind(error)) is not None:
                raise interrupt from None
            for check, state in condition.readers:
                given.done.failures.append(failure(error, check=check.label, state=state.name, samples=self.samples))
        return given.finished()

    def _in_state(self, condition: Condition, methods: Iterable[NamedMethod], given: Gathering) -> None:
        """Rows of every check about the network and about each method, while the model is in this state."""
        targets = self.targets if condition.state.targets == "trained" else _argmax(self.model, self.inputs)
        block = Block(
            model=self.model,
            inputs=condition.state.inputs(self.model, self.inputs),
            targets=targets,
            samples=self.samples,
            features=self.plan.features,
            boxes=self.boxes,
            masks=self.masks,
            meaning=self.plan.meaning,
            originals=self.inputs,
        )
        with _fine(block):
            self._of_block(condition, block, list(methods), given)

    def _of_block(self, condition: Condition, block: Block, methods: Sequence[NamedMethod], given: Gathering) -> None:
        """The same of these samples, whose inputs and labels nobody has to look at again."""
        shared = self._shared(condition, block, given)
        computed: dict[str, tuple[NamedMethod, Maps]] = {}
        recipes = [reseed(method.recipe, condition.state.replicate) for method in methods]
        with sharing.shared(block.model, block.inputs, block.targets, recipes):
            for method, drawn, maps in self._usable(condition.state, block, methods, given):
                for check, state in condition.readers:
                    if (check.label, state.name, method.label, "") in self.wanted and check.label in shared:
                        work, earlier = shared[check.label], self._kept_for(check, method)
                        scores = partial(check.recipe.rows, block, state, drawn, maps, earlier, work)
                        self._enter(given, block, check, state, (method.label, ""), scores, blank=_blank(maps))
                        self._worked(check, state, method.label)
                if any(state.kept for _, state in condition.readers):
                    self.kept[condition.id, method.label] = maps
                if any(check.recipe.pairs for check, _ in condition.readers):
                    computed[method.label] = (drawn, maps)
                self._show(condition, method, maps, given)
        self._enter_pairs(condition, block, computed, shared, given)

    def _usable(
        self, state: State, block: Block, methods: Sequence[NamedMethod], given: Gathering
    ) -> Iterator[tuple[NamedMethod, NamedMethod, Maps]]:
        """Each method, as it draws in this state, and its maps.

        Of the trained network, where maps that are all unusable are a failure, all are made before that is asked.
        """
        made = self._made(state, block, methods, given)
        if state.kind != "trained":
            for method, drawn, maps, watch in made:
                self._count(method, maps, watch, given)
                yield method, drawn, maps
            return
        every = list(made)
        unusable = on_host([_blank(maps)[: len(block.samples)].all() for _, _, maps, _ in every])
        for none, (method, drawn, maps, watch) in zip(unusable, every, strict=True):
            if none:
                error = InputError("Expected finite attributions, but every map of this block holds NaN or infinity.")
                self._fail(method, error, state, block, given)
                continue
            self._count(method, maps, watch, given)
            yield method, drawn, maps

    def _made(
        self, state: State, block: Block, methods: Sequence[NamedMethod], given: Gathering
    ) -> Iterator[tuple[NamedMethod, NamedMethod, Maps, Stopwatch | None]]:
        for method in methods:
            try:
                able, treatment = ready(self.plan, self.learned, method, state, self.model)
                drawn = replace(able, recipe=reseed(able.recipe, state.replicate))
                maps, watch = self._maps(state, block, able, drawn.recipe, treatment)
            except Exception as error:  # one method's failure must not cost the others their rows
                self._fail(method, error, state, block, given)
                continue
            yield method, drawn, maps, watch

    def _fail(self, method: NamedMethod, error: Exception, state: State, block: Block, given: Gathering) -> None:
        said = self.shrinking.sentence(error, splits=splits(method.recipe))
        given.done.failures.append(_failure(block, state, said, method=method.label))

    def _count(self, method: NamedMethod, maps: Maps, watch: Stopwatch | None, given: Gathering) -> None:
        if watch is not None:
            given.made(method.label, _blank(maps), watch)

    def _enter_pairs(
        self,
        condition: Condition,
        block: Block,
        computed: Mapping[str, tuple[NamedMethod, Maps]],
        shared: Mapping[str, Any],
        given: Gathering,
    ) -> None:
        """The missing rows about pairs of methods, of those whose maps there are."""
        for check, state in condition.readers:
            for one, two in combinations(sorted(computed), 2):
                if (check.label, state.name, one, two) in self.wanted and check.label in shared:
                    (method, maps), (other, theirs) = computed[one], computed[two]
                    work = shared[check.label]
                    scores = partial(check.recipe.pair_rows, block, state, (method, other), (maps, theirs), work)
                    self._enter(given, block, check, state, (one, two), scores, blank=_blank(maps, theirs))

    def _shared(self, condition: Condition, block: Block, given: Gathering) -> dict[str, Any]:
        """Each check's work that no method influences, and its rows about the network; without checks that fail."""
        shared: dict[str, Any] = {}
        for check, state in condition.readers:
            if (check.label, state.name) in self.open:
                try:
                    shares = partial(check.recipe.shared, block, state)
                    key = (state.name, block.samples[0])
                    work = shared[check.label] = self._tried("", check, block, shares, key)
                except Exception as error:  # one check's failure must not cost the others their rows
                    said = self.shrinking.sentence(error, splits=False)
                    given.done.failures.append(_failure(block, state, said, check=check.label))
                    continue
                if (check.label, state.name, "", "") in self.wanted:
                    scores = partial(check.recipe.network_rows, block, state, work)
                    self._enter(given, block, check, state, ("", ""), scores)
                self._worked(check, state, "")
        return shared

    def _maps(
        self, state: State, block: Block, method: NamedMethod, recipe: Attribution, treatment: str
    ) -> tuple[Maps, Stopwatch | None]:
        """The maps that `recipe` makes, the method with the noise of the state's replicate, as `treatment` says.

        And what they take, if they are made now.
        """
        treated = {treatment: torch.ones(len(block.inputs))} if treatment else {}
        if treatment == EXCLUDE.name:
            self.heard(method.label, self.plan.passes[method.label])
            return Maps(block.pool(torch.zeros_like(block.inputs)), treated), None
        trained = next((c.id for c in self.plan.conditions if c.state.kind == "trained"), "")
        # A method of ours without a seed has no other noise; a foreign callable may have.
        same = isinstance(recipe, Method) and recipe == method.recipe
        if state.kind == "replicate" and same and (trained, method.label) in self.kept:
            self.heard(method.label, self.plan.passes[method.label])
            return self.kept[trained, method.label], None
        watch = Stopwatch(block.inputs.device)
        with standing_for(block.inputs, self.inputs):
            explanation = self.shrinking.run(method.label, "", block, partial(_explain, recipe, state, block))
        maps = Maps(block.pool(explanation.maps), {**explanation.diagnostics, **treated})
        watch.stop()
        self.heard(method.label, self.plan.passes[method.label])
        return maps, watch

    def _tried(
        self, method: str, check: NamedCheck, block: Block, work: Callable[[], Any], key: tuple[str, ...]
    ) -> Any:
        """What a check's work gives; every attempt at it begins alike."""

        def attempt() -> Any:
            with foreign.watched(check.recipe, block.model, *key):
                return work()

        return self.shrinking.run(method, check.label, block, attempt)

    def _worked(self, check: NamedCheck, state: State, method: str) -> None:
        passes = self.plan.passes_of_checks[check.label, state.name, method]
        if passes:
            self.heard(f"{check.label}, {method}" if method else check.label, passes)

    def _kept_for(self, check: NamedCheck, method: NamedMethod) -> _Kept:
        """The earlier maps that a check asked to keep, under its own names for the states."""
        return _Kept(
            (state.name, self.kept[condition.id, method.label])
            for condition in self.plan.conditions
            for state in condition.states_of(check)
            if state.kept and (condition.id, method.label) in self.kept
        )

    def _enter(
        self,
        given: Gathering,
        block: Block,
        check: NamedCheck,
        state: State,
        methods: tuple[str, str],
        scores: Callable[[], Iterable[Scores]],
        *,
        blank: Tensor | None = None,
    ) -> None:
        """Enter the rows of one question, all or none, under the first of its methods; NaN where its map is `blank`."""
        question, count = self.wanted[Question(check.label, state.name, *methods)], len(block.samples)
        method = methods[0]
        found: list[tuple[dict[str, Any], Tensor]] = []
        try:
            key = (state.name, method, block.samples[0])
            for score in self._tried(method, check, block, lambda: list(scores()), key):
                values = _values(score, count)
                about: dict[str, Any] = {
                    "check": check.label,
                    "method": method,
                    "setting": score.setting,
                    "role": str(score.role or state.kind),
                    "stage": state.label,
                    "position": float(score.position),
                    "metric": score.metric,
                    "seed": int(score.seed),
                    "question": question,
                }
                found.append((about, values))
        except Exception as error:  # recorded; the rows stay missing
            said = self.shrinking.sentence(error, splits=False)
            given.done.failures.append(_failure(block, state, said, method=method, check=check.label))
            return
        given.answer(question, methods, found, blank=blank, shrunk=self.shrinking.rows(methods, check.label))

    def _show(self, condition: Condition, method: NamedMethod, maps: Maps, given: Gathering) -> None:
        for name in condition.shown_as[:1] if not _left_out(maps) else ():
            shown = [i for i, sample in enumerate(self.samples) if sample in self.plan.shown]
            given.show(name, method.label, {i: maps.values[i] for i in shown})


def _fine(block: Block) -> AbstractContextManager[None]:
    """In here methods need not look at a block's inputs and labels, each for itself; where these are not fine they do.

    Each of them then says it, as its own failure.
    """
    try:
        return looked(block.inputs, block.targets, look(block.inputs, block.targets))
    except InputError:
        return nullcontext()


def _values(score: Scores, count: int) -> Tensor:
    """One value a sample, of the first `count`, in float64. Raises: InputError for what a check should not give."""
    texts = isinstance(score, Scores) and all(isinstance(one, str) for one in (score.setting, score.metric))
    if not texts or not bounded(score.seed):
        raise InputError(
            f"Expected rows as Scores, with metric and setting as text and a seed of 64 bits, but got {shown(score)}."
        )
    values = score.values
    if isinstance(values, Tensor):
        check_dense(values, f"values of {score.metric}")
    if not isinstance(values, Tensor) or values.dim() != 1 or len(values) < count or values.is_complex():
        raise InputError(f"Expected a number for each of the samples in {score.metric}, but got {shown(values)}.")
    return values.detach()[:count].to(torch.float64, copy=True)  # a check may write into its own


def _left_out(*maps: Maps) -> bool:
    """Whether any of the maps stands for a method that has no meaning in this state: its values say nothing."""
    return any(EXCLUDE.name in one.diagnostics for one in maps)


def _blank(*maps: Maps) -> Tensor:
    """The samples (N,) of which any map stands for nothing, or holds NaN or infinity."""
    bad = reduce(torch.logical_or, [one.derived(_unusable, _unusable) for one in maps])
    return torch.ones_like(bad) if _left_out(*maps) else bad


def _unusable(values: Tensor) -> Tensor:
    return ~torch.isfinite(values).flatten(1).all(1)


def _explain(recipe: Attribution, state: State, block: Block) -> Explanation:
    rows = within_bound(len(block.inputs))
    if rows < len(block.inputs) and splits(recipe):
        return portions(block, rows, partial(_explain, recipe, state))
    if isinstance(recipe, Given):
        recipe = recipe.of([block.samples[i % len(block.samples)] for i in range(len(block.inputs))])
    if isinstance(recipe, Method) and foreign.is_ours(recipe):
        return recipe.explain(block.model, block.inputs, block.targets)
    # The same draws in every state of one replicate, as our own methods have them.
    key = ("foreign", state.replicate, block.samples[0])
    return foreign.explain(recipe, block.model, block.inputs, block.targets, *key)


def _failure(block: Block, state: State, error: str, *, method: str = "", check: str = "") -> Failure:
    return failure(error, method=method, check=check, state=state.name, samples=block.samples)


def _argmax(model: nn.Module, inputs: Tensor) -> Tensor:
    with torch.no_grad():
        return forward(model, inputs).argmax(1)
