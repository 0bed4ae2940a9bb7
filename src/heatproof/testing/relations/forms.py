"""Form: the same network exported, traced, compiled, wrapped, copied, or stored and loaded."""

import io
import pickle
import warnings
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from heatproof.models import Bound
from heatproof.testing.relations.base import Change
from heatproof.testing.relations.spelling import KNOWS_FEW
from heatproof.testing.relations.traits import Traits

FLAT = "an exported program is one module, and no submodule returns a map"
LEAVES = "the graph calls leaves alone, and the layer that it finds by itself may be one around them; name it"
UNSEEN = "TorchScript's operations cannot be intercepted; rules need the Python module"
SKIPPED = "what torch has compiled before runs past hooks; use the module that it was made from"
UNTOLD = "nobody sees the operations, and so what the dimensions of the inputs mean; say so with `features`"
HIDDEN = "a scripted network's submodules cannot be hooked into; name the Python module"


# Decomposed into other operations, whose rules are others: `spelling` has those.
WRITTEN_OUT = (nn.Hardswish, nn.Softplus, nn.InstanceNorm2d)


@dataclass(frozen=True, kw_only=True)
class Formed(Change):
    """A relation of this family."""

    family: ClassVar[str] = "form"


class Functional(nn.Module):
    """A network called by `torch.func.functional_call` with its own parameters and buffers."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        own = {**dict(self.net.named_parameters()), **dict(self.net.named_buffers())}
        out: Tensor = torch.func.functional_call(self.net, own, (x,))
        return out


class Lightning(nn.Module):
    """What a LightningModule is to those who call it: `forward` goes on to a network, `trainer` is not there yet."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.hparams = {"rate": 1e-3}

    @property
    def trainer(self) -> Any:
        raise RuntimeError(f"{type(self).__qualname__} is not attached to a `Trainer`.")

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        inputs, labels = batch
        loss: Tensor = nn.functional.cross_entropy(self(inputs), labels)
        return loss

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x)
        return out


def _quietly(make: Callable[[nn.Module, Tensor], nn.Module]) -> Callable[[nn.Module, Tensor], nn.Module | str]:
    """The other form, or what torch or a converter says where it has none; their warnings are no news."""

    def change(model: nn.Module, inputs: Tensor) -> nn.Module | str:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return make(deepcopy(model), inputs[:2].clone())
            except Exception as error:  # a form that torch has not for this network is no form of it
                return f"it has no such form: {type(error).__name__}: {error}"

    return change


def _program(model: nn.Module, inputs: Tensor) -> torch.export.ExportedProgram:
    batch = ({0: torch.export.Dim.DYNAMIC},)
    return torch.export.export(model, (inputs,), dynamic_shapes=batch)


def _exported(model: nn.Module, inputs: Tensor) -> nn.Module:
    return _settled(_program(model, inputs).module())


def _decomposed(model: nn.Module, inputs: Tensor) -> nn.Module:
    for module in model.modules():
        if isinstance(module, WRITTEN_OUT):
            raise TypeError(f"decompositions write {type(module).__name__} out, and rules differ")
    return _settled(_program(model, inputs).run_decompositions().module())


def _unflattened(model: nn.Module, inputs: Tensor) -> nn.Module:
    return _settled(torch.export.unflatten(_program(model, inputs)))


def _settled(module: nn.Module) -> nn.Module:
    """In eval mode: the program was exported in it, and its own `eval` is refused."""
    for one in module.modules():
        one.training = False
    return module


def _traced_by_fx(model: nn.Module, inputs: Tensor) -> nn.Module:
    return torch.fx.symbolic_trace(model).eval()  # it makes modules anew, in training mode


def _compiled(model: nn.Module, inputs: Tensor) -> nn.Module:
    compiled: Any = torch.compile(model, backend="eager")
    made: nn.Module = compiled
    return made


def _scripted(model: nn.Module, inputs: Tensor) -> nn.Module:
    made: nn.Module = torch.jit.script(model)
    return made


def _traced(model: nn.Module, inputs: Tensor) -> nn.Module:
    made: nn.Module = torch.jit.trace(model, inputs)  # type: ignore[no-untyped-call]
    return made


def _through_onnx(model: nn.Module, inputs: Tensor) -> nn.Module:
    onnx, onnx2torch = import_module("onnx"), import_module("onnx2torch")
    file = io.BytesIO()
    export: Any = torch.onnx.export  # annotated for paths alone, it takes a file
    export(model, (inputs,), file, dynamo=False, input_names=["x"], dynamic_axes={"x": {0: "n"}})
    made: nn.Module = onnx2torch.convert(onnx.load_from_string(file.getvalue())).eval()
    return made


def _pickled(model: nn.Module, inputs: Tensor) -> nn.Module:
    made: nn.Module = pickle.loads(pickle.dumps(model))
    return made


def _saved(model: nn.Module, inputs: Tensor) -> nn.Module:
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    twin = deepcopy(model)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    twin.load_state_dict(torch.load(file, weights_only=True))
    return twin


def _formed(
    name: str,
    says: str,
    make: Callable[[nn.Module, Tensor], nn.Module],
    *,
    refits: bool = True,
    refuses: Callable[[Traits], str] = lambda traits: "",
    excuse: Callable[[Traits], str] = lambda traits: "",
) -> Formed:
    return Formed(name=name, says=says, network=_quietly(make), refits=refits, refuses=refuses, excuse=excuse)


def _flat(traits: Traits) -> str:
    return FLAT if traits.layers else ""


def _few(traits: Traits) -> str:
    return KNOWS_FEW if traits.patterns else ""


def _flat_or_few(traits: Traits) -> str:
    return _flat(traits) or _few(traits)


def _opaque(traits: Traits) -> str:
    if traits.layers:
        return HIDDEN
    return UNSEEN if traits.rules else UNTOLD if traits.asks else ""


def _wrapped(wrap: Callable[[nn.Module], nn.Module]) -> Callable[[nn.Module, Tensor], nn.Module]:
    return lambda model, inputs: wrap(model).eval()


FORMS = (
    _formed("copied", "`copy.deepcopy`", lambda model, inputs: model, refits=False),
    _formed("pickled", "pickled and loaded", _pickled, refits=False),
    _formed("state-loaded", "its state saved, and loaded into another one", _saved, refits=False),
    _formed("exported", "`torch.export`, the program's `module()`", _exported, refuses=_flat),
    _formed("exported-decomposed", "`torch.export` and `run_decompositions()`", _decomposed, refuses=_flat_or_few),
    _formed("exported-unflattened", "`torch.export` and `unflatten`", _unflattened),
    _formed("fx", "`torch.fx.symbolic_trace`", _traced_by_fx, excuse=lambda traits: LEAVES if traits.layers else ""),
    _formed(
        "compiled",
        "`torch.compile`, backend eager",
        _compiled,
        refuses=lambda traits: SKIPPED if traits.layers else "",
    ),
    _formed("scripted", "`torch.jit.script`", _scripted, refuses=_opaque),
    _formed("traced", "`torch.jit.trace`", _traced, refuses=_opaque),
    _formed("onnx", "through ONNX and back, by onnx2torch", _through_onnx, refuses=_few),
    _formed("data-parallel", "`nn.DataParallel`", _wrapped(nn.DataParallel)),
    _formed("averaged", "`AveragedModel` (EMA, SWA)", _wrapped(AveragedModel)),
    _formed("lightning", "inside a module like Lightning's", _wrapped(Lightning)),
    _formed("functional-call", "`torch.func.functional_call`", _wrapped(Functional)),
    _formed("bound", "`heatproof.models.Bound` with nothing else", _wrapped(Bound)),
)
