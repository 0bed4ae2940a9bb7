"""A function of somebody's own, by `module:name`."""

import importlib
from typing import Any

from heatproof.errors import InputError, unknown


def named_code(name: str, what: str) -> Any:
    """The callable `module:name`, its module imported from where Python finds it.

    Raises: InputError for a module that there is not or that raises, and for a name that it does not have.
    """
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise InputError(f"Expected the {what} as module:function, but got {name!r}.")
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise InputError(f"Expected the module {module!r} to import, but it raised {error}.") from error
        raise InputError(f"Expected a module {module!r} with the {what}, but there is none: {error}.") from None
    except Exception as error:  # whatever it raises
        raise InputError(
            f"Expected the module {module!r} to import, but it raised {type(error).__name__}: {error}."
        ) from error
    if not callable(getattr(found, attribute, None)):
        raise unknown(f"function in {module}", attribute, [one for one, v in vars(found).items() if callable(v)])
    return getattr(found, attribute)
