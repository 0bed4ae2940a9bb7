"""What other libraries have, counted in the packages that are installed: `python docs/compare.py` prints it."""

import inspect
from importlib import import_module
from importlib.metadata import version

BASES = {"Hook": "zennit.core", "BaseCAM": "pytorch_grad_cam.base_cam"}


def classes(module: str, base: str) -> list[str]:
    """The classes of a module that are of a base class of it, the base itself left out."""
    home = import_module(module)
    kind = getattr(home, base, None) or getattr(import_module(BASES[base]), base)
    found = {one for one in vars(home).values() if inspect.isclass(one) and issubclass(one, kind) and one is not kind}
    return sorted(one.__name__ for one in found)


def counted() -> dict[str, int]:
    """How many of each there are, by package and kind."""
    attributions = classes("captum.attr", "Attribution")
    parts = ("Layer", "Neuron")
    abstract = {"GradientAttribution", "PerturbationAttribution", "LayerAttribution", "NeuronAttribution"}
    own = [name for name in attributions if not name.startswith(parts) and name not in abstract]
    inside = [name for name in attributions if name.startswith(parts) and name not in abstract]
    return {
        "captum attributions of inputs": len(own),
        "captum attributions of layers and neurons": len(inside),
        "zennit rules": len(classes("zennit.rules", "Hook")),
        "zennit composites": len(classes("zennit.composites", "Composite")),
        "quantus metrics": len(classes("quantus", "Metric")),
        "pytorch-grad-cam activation maps": len(classes("pytorch_grad_cam", "BaseCAM")),
    }


if __name__ == "__main__":
    for package in ("captum", "zennit", "quantus", "grad-cam"):
        print(f"{package} {version(package)}")
    for kind, number in counted().items():
        print(f"{kind}: {number}")
