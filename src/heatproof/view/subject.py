"""The network that is taken apart, from a spec, a run's own, or by its name, and how a picture becomes its input."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from heatproof.auditing.explain import as_told
from heatproof.auditing.from_spec import load
from heatproof.auditing.model_spec import ModelSpec
from heatproof.auditing.spec import AuditSpec, parse_beside, read
from heatproof.checks import ParameterRandomization
from heatproof.data import Blocks, Dataset, ImageFolder, Source
from heatproof.data.base import picture_channels
from heatproof.data.pictures import PictureSource
from heatproof.data.wanted import with_names
from heatproof.errors import InputError
from heatproof.features import Features
from heatproof.methods.base import METHODS, Attribution
from heatproof.methods.fitted import learners
from heatproof.methods.given import Given
from heatproof.outputs import Outputs
from heatproof.randomization import RANDOMIZATIONS, Randomization
from heatproof.runs import read_manifest
from heatproof.runs.store import BEFORE, RUN
from heatproof.targets import Label, Target

USUAL = ("gradient", "guided-backprop", "grad-cam")  # what shows most at a glance, where no spec says
CHOSEN = 3


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A network with what it takes to explain a sample of its data, or a picture from outside.

    Attributes:
        name: of the network.
        model: in eval mode.
        methods: by the label that a reader sees.
        chosen: the labels that are shown at first.
        randomizations: by what each is called.
        samples: blocks of samples; None where only pictures from outside are explained.
        picture: how a picture becomes an input; None where nothing says so, and then `no_picture` says why.
        training: what methods that learn learn from, or None.
        target: what is explained; a label is chosen in the page.
    """

    name: str
    model: nn.Module
    methods: Mapping[str, Attribution]
    chosen: tuple[str, ...]
    randomizations: Mapping[str, Randomization]
    samples: Blocks | None = None
    picture: PictureSource | None = None
    no_picture: str = ""
    training: Blocks | None = None
    features: Features | None = None
    outputs: Outputs | None = None
    target: Target = field(default_factory=Label)
    classes: Sequence[str] | None = None


def subject(
    named: str, trusted: Sequence[str] = (), *, pictures: Mapping[str, Any] | None = None, **model: Any
) -> Subject:
    """What `--model` names: a TOML file, the folder of a run that was made from one, or a network by its name.

    The code that a spec names is held to what lies beside it and what is `trusted`; of a run that is the present
    folder, as a run does not say where its spec lay. A network by its name has the `weights` of a file, and as samples
    the pictures of the folder `data`, read as the fields `pictures` of a source say.

    Raises: InputError for what cannot be read or loaded.
    """
    path = Path(named)
    if path.is_dir() and any((path / name).exists() for name in (RUN, BEFORE)):
        table = read_manifest(path).get("spec")
        if not table:
            raise InputError(
                f"Expected a run that was made from a spec, but {named} was made in Python; name its network as "
                "module:function."
            )
        spec = parse_beside(table, Path.cwd(), trusted)
    elif path.suffix == ".toml" or path.is_file():
        spec = read(path, trusted)
    else:
        return _by_name(named, pictures or {}, **model)
    if pictures or model:
        given = ", ".join([*model, *(["how pictures are read"] if pictures else [])])
        raise InputError(f"Expected nothing beside a spec, which says all that, but got {given} beside {named}.")
    return of_spec(spec)


def of_spec(spec: AuditSpec) -> Subject:
    """The network, samples, methods and randomizations of a spec."""
    found = load(spec)
    picture, why = as_pictures(found.data, found.first)
    asked = [check.randomization for _, check in spec.checks.values() if isinstance(check, ParameterRandomization)]
    training = None if found.training is None else found.training.blocks()
    methods, samples = _methods(spec.methods, training), found.data.blocks()
    looking = [label for label in spec.methods if label in methods and getattr(methods[label], "uses_model", True)]
    quick = [label for label in looking if not learners(methods[label])]
    return Subject(
        name=spec.title or spec.model.name,
        model=found.model,
        methods=methods,
        chosen=tuple(sorted(quick or methods, key=lambda label: label not in USUAL)[:CHOSEN]),
        randomizations=_randomizations(asked),
        samples=samples,
        picture=picture,
        no_picture=why,
        training=training,
        features=spec.features,
        outputs=found.outputs,
        target=spec.targets,
        classes=samples.classes or found.names,
    )


def _by_name(
    named: str,
    pictures: Mapping[str, Any],
    *,
    weights: Path | None = None,
    layer: str | None = None,
    data: Path | None = None,
    classes: Sequence[str] = (),
) -> Subject:
    spec = ModelSpec(name=named, weights=None if weights is None else str(weights.resolve()), layer=layer)
    net = spec.network()
    names = classes or spec.names(net)
    picture, *folders = as_told([PictureSource(**pictures), *_folders(data, pictures)], spec, net)
    samples = with_names(folders[0], names).blocks() if folders else None
    return Subject(
        name=named.rpartition(":")[2],
        model=spec.bound(net),
        methods=_methods({}, samples),
        chosen=USUAL,
        randomizations=_randomizations(()),
        samples=samples,
        picture=picture,
        training=samples,
        classes=names or (None if samples is None else samples.classes),
    )


def _folders(data: Path | None, pictures: Mapping[str, Any]) -> list[PictureSource]:
    return [] if data is None else [ImageFolder(root=str(data), **pictures)]


def _methods(asked: Mapping[str, Attribution], training: Blocks | None) -> dict[str, Attribution]:
    """Those that were asked for, then every registered one that has a map of another network as well."""
    every: dict[str, Attribution] = {
        **asked,
        **{name: METHODS.get(name) for name in METHODS.names() if name not in asked},
    }
    return {
        label: recipe
        for label, recipe in every.items()
        if not isinstance(recipe, Given) and (training is not None or not learners(recipe))
    }


def _randomizations(asked: Sequence[Randomization]) -> dict[str, Randomization]:
    usual = [RANDOMIZATIONS.get(name) for name in ("cascading", "bottom-up", "independent")]
    found: dict[str, Randomization] = {}
    for one in (*asked, *usual):
        found.setdefault(one.group, one)
    return found


def as_pictures(source: Source, first: Dataset) -> tuple[PictureSource | None, str]:
    """How a picture from outside becomes an input like those of `source`, or why nothing says how.

    A source of files reads it as its own. Of another one the first sample shows whether its inputs are its pictures,
    scaled and normalized; then one from outside is brought to their size.
    """
    if isinstance(source, PictureSource):
        return source, ""
    shown = first.display
    if shown is None:
        return None, "These samples are no pictures; choose one of them."
    size, channels = (int(shown.shape[1]), int(shown.shape[2])), 1 if shown.dim() == 3 else 3
    made = source.normalize(picture_channels(shown)) if not source.mean or len(source.mean) == channels else None
    if made is None or made.shape != first.inputs.shape or not torch.allclose(made, first.inputs.float(), atol=0.01):
        return None, "Nothing says how a picture becomes an input of this network; choose a sample of the data."
    resize: int | tuple[int, int] = size[0] if size[0] == size[1] else size
    return (
        PictureSource(resize=resize, crop=size, channels=channels, mean=source.mean, std=source.std),
        "",
    )
