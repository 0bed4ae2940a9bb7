"""How a network wants its pictures, as it tells itself: timm's, torchvision's and Hugging Face's preprocessing."""

import io
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from heatproof.data.base import picture_channels
from heatproof.data.defaults import is_default
from heatproof.data.pictures import INTERPOLATIONS, PictureSource, Size
from heatproof.errors import HeatproofWarning, InputError, shown
from heatproof.layouts.seen import network
from heatproof.pretrained import folder_of, library, loaded

PROCESSOR = "preprocessor_config.json"
WARPED = 384  # from this size on ConvNeXt's processor changes the shape of pictures instead of cropping them
ALIKE = 4 / 255  # of a pixel's range: two libraries round a resized picture differently
SIZES, NUMBERS = ("resize", "crop"), ("mean", "std")


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """What is done to a picture before a network sees it: the fields of a `PictureSource` of these names.

    Attributes:
        told_by: who says so, in words.
        resize, crop, interpolation, rounding, channels, mean, std: as in `PictureSource`.
    """

    told_by: str
    resize: Size = None
    crop: Size = None
    interpolation: str = "bilinear"
    rounding: str = "nearest"
    channels: int = 3
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    @property
    def settings(self) -> dict[str, Any]:
        """The fields of a source, by name: `ImageFolder(root=…, **preprocessing.settings)`."""
        return {one.name: getattr(self, one.name) for one in fields(self) if one.name != "told_by"}


def preprocessing(of: Any) -> Preprocessing | None:
    """What a network tells of its pictures, or torchvision's weights, or the `transforms()` of these; None if nothing.

    Of a network of timm its `pretrained_cfg`; of one of Hugging Face the image processor beside it, in the folder that
    it was loaded from. One of torchvision does not know its weights: give them (`ResNet50_Weights.IMAGENET1K_V2`).

    Warns: HeatproofWarning where what it tells is more than resizing, cropping, scaling and normalizing.
    """
    if isinstance(of, Preprocessing):
        return of
    if hasattr(of, "transforms") and hasattr(of, "meta"):
        return of_preset(of.transforms(), f"torchvision's {of}")
    if hasattr(of, "crop_size") and hasattr(of, "resize_size"):
        return of_preset(of, "torchvision's preset")
    if not isinstance(of, nn.Module):
        raise InputError(f"Expected a network, or weights of torchvision, but got {shown(of)}.")
    net = network(of)
    config = getattr(net, "pretrained_cfg", None) or getattr(net, "default_cfg", None)
    if config is not None and not isinstance(config, Mapping):
        config = config.to_dict() if hasattr(config, "to_dict") else None
    if config:
        return _beside(of, of_timm(net, config))
    place = folder_of(net)
    return None if place is None else _beside(of, of_folder(place))


def _beside(model: nn.Module, told: Preprocessing | None) -> Preprocessing | None:
    """What is left to do before a model that has a preprocessing of its own."""
    own = told is not None and getattr(model, "preprocessing", None) is not None
    return replace(told, mean=(), std=()) if told is not None and own else told


def of_timm(net: nn.Module, config: Mapping[str, Any]) -> Preprocessing | None:
    """What timm's `pretrained_cfg` says, as timm's own transforms of an evaluation do it."""
    if not config.get("mean") or not config.get("std") or not config.get("input_size"):
        return None
    channels, *size = map(int, config["input_size"])
    first = config.get("first_conv")
    named = dict(net.named_modules()).get(first) if isinstance(first, str) else None
    if channels not in (1, 3) or getattr(named, "in_channels", channels) != channels:
        return None  # made for other pictures than the configuration is about
    said = ".".join(filter(None, (str(config.get("architecture") or ""), str(config.get("tag") or ""))))
    fine = config.get("crop_mode") or "center"
    scaled = [math.floor(side / float(config.get("crop_pct") or 0.875)) for side in size]
    if fine not in ("center", "squash") or (fine == "center" and len(set(size)) > 1):
        _not_read(f"timm's {said}", f"it pads pictures ({fine}, {size[0]} x {size[1]})")
        return None
    interpolation = str(config.get("interpolation") or "bicubic")
    return Preprocessing(
        told_by=f"timm's {said}" if said else "timm's pretrained_cfg",
        resize=scaled[0] if fine == "center" else (scaled[0], scaled[1]),
        crop=size[0] if len(set(size)) == 1 else (size[0], size[1]),
        interpolation=interpolation if interpolation in INTERPOLATIONS else "bicubic",
        channels=channels,
        mean=_numbers(config["mean"]),
        std=_numbers(config["std"]),
    )


def of_preset(preset: Any, told_by: str) -> Preprocessing | None:
    """What the transforms of torchvision's weights of classifiers do."""
    if not all(hasattr(preset, name) for name in ("resize_size", "crop_size", "mean", "std", "interpolation")):
        return None
    return Preprocessing(
        told_by=told_by,
        resize=_side(preset.resize_size),
        crop=_side(preset.crop_size),
        interpolation=str(getattr(preset.interpolation, "value", preset.interpolation)),
        mean=_numbers(preset.mean),
        std=_numbers(preset.std),
    )


def of_folder(folder: Path) -> Preprocessing | None:
    """What the image processor in a folder of Hugging Face's does; None where there is none.

    It is tried on a picture, and what is read is only given where it does the same.
    """
    if not (folder / PROCESSOR).is_file():
        return None
    made = library(f"The image processor in {str(folder)!r}").AutoImageProcessor
    processor = loaded(made, folder, f"{folder / PROCESSOR} to describe an image processor of transformers")
    told_by = type(processor).__name__
    read = _of_processor(processor, told_by)
    if read is not None and _does_the_same(read, processor):
        return read
    _not_read(told_by, "it does more than to resize, crop, scale to [0, 1] and normalize")
    return None


def _of_processor(processor: Any, told_by: str) -> Preprocessing | None:
    resize: Size = None
    crop: Size = None
    size, cut = (_plain(getattr(processor, name, None)) for name in ("size", "crop_size"))
    if getattr(processor, "do_resize", False):
        if set(size) == {"height", "width"}:
            resize = (size["height"], size["width"])
        elif set(size) == {"shortest_edge"}:
            resize = size["shortest_edge"]
            share = getattr(processor, "crop_pct", None)
            if share and size["shortest_edge"] < WARPED:  # ConvNeXt's
                resize, crop = int(size["shortest_edge"] / share), size["shortest_edge"]
            elif share:
                resize = (size["shortest_edge"], size["shortest_edge"])
        else:
            return None
    if getattr(processor, "do_center_crop", False):
        crop = (cut["height"], cut["width"]) if set(cut) == {"height", "width"} else None
    scaled = getattr(processor, "do_rescale", True) and abs(getattr(processor, "rescale_factor", 0) - 1 / 255) < 1e-6
    resample = getattr(processor, "resample", None)
    name = {int(getattr(Image.Resampling, one.upper())): one for one in INTERPOLATIONS}.get(
        int(resample) if resample is not None else int(Image.Resampling.BILINEAR)
    )
    if not scaled or name is None:
        return None
    normal = getattr(processor, "do_normalize", False)
    try:
        return Preprocessing(
            told_by=told_by,
            resize=resize,
            crop=_side(crop) if isinstance(crop, tuple) else crop,
            interpolation=name,
            rounding="down",
            mean=_numbers(processor.image_mean) if normal else (),
            std=_numbers(processor.image_std) if normal else (),
        )
    except (TypeError, ValueError):
        return None


def _does_the_same(read: Preprocessing, processor: Any) -> bool:
    """Whether what was read makes of a picture what the processor itself makes of it."""
    down, across = np.mgrid[0:300, 0:400]
    waves = [np.sin(down / 17 + k) * np.cos(across / (23 + k)) for k in range(3)]
    picture = Image.fromarray(np.rint(127.5 + 127.5 * np.stack(waves, -1)).astype(np.uint8))
    stored = io.BytesIO()
    picture.save(stored, "PNG")
    try:
        theirs = torch.as_tensor(np.asarray(processor(picture, return_tensors="np")["pixel_values"]))
        source = PictureSource(**read.settings)
        ours = source.normalize(picture_channels(torch.from_numpy(source.decode(stored).picture)[None]))
    except (ValueError, TypeError, KeyError, RuntimeError):
        return False
    if ours.shape != theirs.shape:
        return False
    scale = torch.tensor(read.std or (1.0,)).view(1, -1, 1, 1)
    return bool(((ours - theirs).abs() * scale).max() <= ALIKE)


def as_wanted(source: Any, told: Preprocessing | None) -> tuple[Any, str]:
    """A source of pictures as a network wants them, and a sentence that says what was read of it; "" for nothing.

    What was set explicitly wins: the sizes together, the mean and std together, and each other field alone. Other
    sources stay as they are.

    Warns: HeatproofWarning where what was set is not what the network tells.
    """
    if told is None or not isinstance(source, PictureSource):
        return source, ""
    wanted = told.settings
    own = {name: getattr(source, name) for name in wanted}
    kept = {name for name in wanted if not is_default(own[name])}
    for group in (SIZES, NUMBERS):
        kept |= set(group) if kept & set(group) else set()
    if own["channels"] != wanted["channels"] and "channels" in kept:
        kept |= set(NUMBERS)  # another network's pictures
    against = [name for name in wanted if name in kept and own[name] != wanted[name]]
    if against:
        warnings.warn(
            f"The data are read as they were described, and {told.told_by}, which the model brings, says otherwise: "
            + "; ".join(f"{name} {_said(own[name])}, not {_said(wanted[name])}" for name in against)
            + ". How often the network is right tells which is meant.",
            HeatproofWarning,
            stacklevel=2,
        )
    read = {name: value for name, value in wanted.items() if name not in kept}
    if not read:
        return source, ""
    said = ", ".join(f"{name} {_said(value)}" for name, value in read.items() if name != "rounding")
    return replace(source, **read), f"Preprocessing read from the model ({told.told_by}): {said}."


def _not_read(told_by: str, why: str) -> None:
    warnings.warn(
        f"The preprocessing of {told_by} is not read, because {why}; set resize, crop, mean and std of the data, or "
        "give samples that it made.",
        HeatproofWarning,
        stacklevel=3,
    )


def _side(value: Any) -> Size:
    numbers = [int(value)] if isinstance(value, int) else [int(one) for one in value]
    return numbers[0] if len(set(numbers)) == 1 else (numbers[0], numbers[1])


def _numbers(values: Any) -> tuple[float, ...]:
    each: Sequence[float] = [values] if isinstance(values, int | float) else values
    return tuple(map(float, each))


def _plain(size: Any) -> dict[str, int]:
    """A size of a processor as numbers by name; empty for none."""
    if size is None:
        return {}
    if isinstance(size, int):
        return {"height": size, "width": size}
    names = ("height", "width", "shortest_edge", "longest_edge", "max_height", "max_width")
    return {name: int(size[name]) for name in names if name in size and size[name] is not None}


def _said(value: Any) -> str:
    if isinstance(value, tuple) and not value:
        return "none"
    if isinstance(value, tuple):
        return (" x " if all(isinstance(one, int) for one in value) else " ").join(f"{one:.3g}" for one in value)
    return "none" if value is None else str(value)
