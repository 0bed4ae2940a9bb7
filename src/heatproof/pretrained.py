"""Classifiers of pictures and texts in a folder of Hugging Face's layout: loaded from there, and nothing else asked."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from heatproof.errors import InputError, MissingExtraError
from heatproof.models import Bound
from heatproof.paths import given_path

PICTURES, TEXTS = "ForImageClassification", "ForSequenceClassification"
CONFIG = "config.json"
KINDS = {"multi_label_classification": "multi-label", "regression": "scalars"}


class Way(NamedTuple):
    """How a classifier of texts is a function of its words: as `Bound` takes it."""

    at: str
    given: Mapping[str, str]


def load(folder: str | PathLike[str]) -> Bound:
    """The classifier in a folder that `save_pretrained` wrote, ready for an audit: its logits, in float32, eval mode.

    One of pictures is a function of its pixels (N, C, H, W). One of texts is explained from its words' embeddings on,
    and takes the tokens of the data (`TextTable(path=…)`, whose tokenizer is then the folder's own) as side inputs.
    Names of labels and the preprocessing of pictures are read from the folder, too.

    Nothing is fetched, no code of the folder's own is run, nothing is unpickled. Cost: the weights in memory.

    Raises: InputError for a folder that holds no such classifier, or not all of its weights; MissingExtraError.
    """
    net = load_folder(given_path(folder))
    way = of_texts(net)
    return Bound(net, at=way and way.at, given=way and way.given, output="logits")


def load_folder(folder: Path) -> nn.Module:
    """The network of `load` as transformers makes it."""
    config = _config(folder)
    named = list(config.get("architectures") or [])
    kind = next((name for name in named if name.endswith((PICTURES, TEXTS))), None)
    if config.get("auto_map"):
        raise InputError(
            f"Expected a network of transformers in {str(folder)!r}, but its {CONFIG} names code of its own "
            "(auto_map), which heatproof does not run; build it in a factory of yours, module:function."
        )
    if kind is None:
        raise InputError(
            f"Expected a classifier of pictures or texts in {str(folder)!r} (…{PICTURES}, …{TEXTS}), but its {CONFIG} "
            f"says {', '.join(named) or 'no architecture'}; build any other network in a factory, module:function."
        )
    if not list(folder.glob("*.safetensors")):
        raise InputError(
            f"Expected weights as safetensors in {str(folder)!r}, but there are none; heatproof unpickles nothing: "
            "save them with model.save_pretrained(folder)."
        )
    transformers = library(f"The model in {str(folder)!r}")
    made = getattr(transformers, kind, None)
    if made is None:
        raise InputError(f"Expected a network that transformers {transformers.__version__} has, but got {kind!r}.")
    settings = {"use_safetensors": True, "dtype": torch.float32, "output_loading_info": True}
    with _quiet(transformers.utils.logging):
        net, told = loaded(made, folder, f"{kind} in {str(folder)!r}", **settings)
    missing = sorted(map(str, told.get("missing_keys", ())))
    wrong = sorted(str(one[0]) for one in told.get("mismatched_keys", ()))
    if missing or wrong:
        raise InputError(
            f"Expected all weights of {kind} in {str(folder)!r}, but {len(missing)} tensors are missing {missing[:3]}, "
            f"{len(wrong)} have another shape {wrong[:3]}: a network with random weights is no trained one."
        )
    result: nn.Module = net.eval()
    return result


def loaded(made: Any, folder: Path, what: str, **settings: Any) -> Any:
    """What a class of transformers makes of a folder. Nothing is fetched, and no code of the folder's own is run.

    Raises: InputError, which says that `what` was expected.
    """
    try:
        return made.from_pretrained(folder, local_files_only=True, trust_remote_code=False, **settings)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, ImportError) as error:
        raise InputError(f"Expected {what}, but loading it failed ({error}).") from error


def library(purpose: str) -> Any:
    """The package transformers. Raises: MissingExtraError."""
    try:
        import transformers
    except ImportError:
        raise MissingExtraError("transformers", "transformers", purpose) from None
    return transformers


def folder_of(net: nn.Module) -> Path | None:
    """The folder that a network of transformers was loaded from; None where it was not."""
    place = getattr(getattr(net, "config", None), "_name_or_path", "")
    return Path(place) if isinstance(place, str) and place and Path(place).is_dir() else None


def of_texts(net: nn.Module) -> Way | None:
    """The way of a classifier of texts, explained from its words' embeddings on; None for one of pictures."""
    if not type(net).__name__.endswith(TEXTS):
        return None
    words = net.get_input_embeddings()  # type: ignore[operator]  # every network of transformers has it
    at = next(name for name, module in net.named_modules() if module is words)
    return Way(at, {"input_ids": "ids", "attention_mask": "mask"})


def kind_of_outputs(net: nn.Module) -> str | None:
    """What the outputs are, where the network's configuration says so: its `problem_type`."""
    return KINDS.get(str(getattr(getattr(net, "config", None), "problem_type", None)))


def _config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    if not path.is_file():
        raise InputError(
            f"Expected a folder that save_pretrained wrote, with a {CONFIG}, at {str(folder)!r}, but there is none; "
            "heatproof downloads nothing: fetch the model there first."
        )
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"Expected {path} to be JSON, but reading it failed ({error}).") from None
    if not isinstance(found, dict):
        raise InputError(f"Expected {path} to hold a configuration, but it holds a {type(found).__name__}.")
    return found


@contextmanager
def _quiet(logging: Any) -> Iterator[None]:
    """Without a bar for weights that are there in an instant."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
