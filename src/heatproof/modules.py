"""A model's modules, each once: as fast as they can be walked, since every call looks at them."""

from torch import nn


def modules_of(model: nn.Module) -> list[nn.Module]:
    """The model and all modules inside it, without the names that torch's own walk makes."""
    found, seen = [model], {id(model)}
    for module in found:  # which grows meanwhile
        for child in module.__dict__.get("_modules", {}).values():
            if child is not None and id(child) not in seen:
                seen.add(id(child))
                found.append(child)
    return found
