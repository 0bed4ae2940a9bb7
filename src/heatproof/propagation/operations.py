"""Which operation a call is: one table of kinds, and one reading of the many names that torch has for the same thing.

The engine knows operations, never architectures. `a + b`, `torch.add`, `Tensor.add_`, `a += b` and
`torch.ops.aten.add.Tensor` are one operation, `add`; what a rule does depends on its kind alone.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from torch._ops import OpOverload, OpOverloadPacket
from torch.overrides import resolve_name

from heatproof.errors import InputError
from heatproof.propagation.decompositions import BODIES, LINEAR_IN, OF_CONSTANTS
from heatproof.propagation.respelled import RESPELLED

STRUCTURAL = """
    __getitem__ _reshape_alias _unsafe_index _to_copy alias adjoint as_strided broadcast_to channel_shuffle chunk
    clone contiguous cpu cuda diag_embed diagonal double dropout dropout1d dropout2d dropout3d dsplit expand expand_as
    feature_dropout feature_alpha_dropout alpha_dropout flatten flip fliplr flipud float gather half hsplit bfloat16
    identity index index_select lift_fresh masked_fill masked_select mH moveaxis movedim mT narrow permute
    pixel_shuffle pixel_unshuffle ravel native_channel_shuffle real repeat repeat_interleave requires_grad_ reshape
    reshape_as roll rot90 select slice split split_with_sizes squeeze swapaxes swapdims T t take_along_dim
    tensor_split tile to transpose tril triu type type_as unbind unflatten unfold unsqueeze unsafe_chunk unsafe_split
    unsafe_split_with_sizes view view_as vsplit where _pack_padded_sequence _pad_packed_sequence
"""
SUM = """
    adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d add avg_pool1d avg_pool2d avg_pool3d cat column_stack
    concat concatenate constant_pad_nd cumsum dstack fold hstack interpolate mean neg negative nansum
    pad positive row_stack rsub stack sub subtract sum upsample upsample_bilinear upsample_nearest vstack trapz diff
    reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d replication_pad3d
"""
STRUCTURAL += """
    cdouble cfloat complex conj conj_physical diag diagflat embedding fft_fftshift fft_ifftshift H im2col imag
    linalg_diagonal max_unpool1d max_unpool2d max_unpool3d nan_to_num pin_memory resolve_conj resolve_neg take
    view_as_complex view_as_real
"""
SUM += "block_diag col2im cumulative_trapezoid sum_to_size trace trapezoid"
# Linear over the reals, with fixed numbers that mix their values: transforms, and what is linear in one tensor only.
MAP = (
    " ".join(LINEAR_IN)
    + """
    fft_fft fft_fft2 fft_fftn fft_hfft fft_hfft2 fft_hfftn fft_ifft fft_ifft2 fft_ifftn fft_ihfft fft_ihfft2 fft_ihfftn
    fft_irfft fft_irfft2 fft_irfftn fft_rfft fft_rfft2 fft_rfftn _fft_c2c _fft_c2r _fft_r2c gradient
"""
)
WRITE = (
    "__setitem__ copy_ index_put index_put_ index_copy index_copy_ index_add index_add_ scatter scatter_ scatter_add "
)
WRITE += "masked_scatter masked_scatter_ select_scatter slice_scatter"
WRITE += " diagonal_scatter as_strided_scatter fill fill_ fill_diagonal_ index_fill index_fill_ put put_ zero zero_"
NONLINEARITY = """
    abs absolute acos acosh arctan asinh atan celu clamp clamp_max clamp_min clip cos cosh deg2rad elu erf erfc
    erfinv exp exp2 expm1 float_power gelu hardshrink hardsigmoid hardswish hardtanh leaky_relu log log10 log1p log2
    log_sigmoid logsigmoid mish pow prelu reciprocal relu relu6 rrelu rpow rsqrt selu sigmoid silu sin sinh softplus
    softshrink softsign sqrt square tan tanh tanhshrink threshold
"""
NONLINEARITY += """
    arccos arccosh arcsin arcsinh arctan2 arctanh asin atan2 atanh copysign digamma entr erfcx
    fake_quantize_per_channel_affine fake_quantize_per_tensor_affine fmod frac i0 i0e i1 i1e lgamma log_ndtr logit
    mvlgamma ndtr ndtri polygamma rad2deg remainder sinc
"""
PRODUCT = "mul multiply div divide true_divide rdiv matmul rmatmul mm bmm mv dot inner outer einsum"
PRODUCT += " addmm addmv addbmm baddbmm addr kron linalg_matmul linalg_vecdot vdot"
CONVOLUTION = "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d"
MAX_POOL = "max_pool1d max_pool2d max_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d"
CHOICE = "amax amin max min maximum minimum mode topk sort fmax fmin"
NORMALIZATION = "layer_norm group_norm instance_norm rms_norm"
INDEPENDENT = """
    empty_like full_like new_empty new_full new_ones new_tensor new_zeros ones_like rand_like randn_like zeros_like
"""
LEAK = "data detach numpy item tolist __array__ __float__ __int__ __index__ __complex__ __dlpack__ __reduce_ex__"

KINDS: dict[str, str] = {}
for _kind, _names in {
    "structural": STRUCTURAL,
    "sum": SUM,
    "map": MAP,
    "write": WRITE,
    "nonlinearity": NONLINEARITY,
    "product": PRODUCT,
    "linear": "linear",
    "convolution": CONVOLUTION,
    "max-pool": MAX_POOL,
    "choice": CHOICE,
    "normalization": NORMALIZATION,
    "batch-norm": "batch_norm",
    "softmax": "softmax log_softmax softmin",
    "norm": "norm vector_norm linalg_vector_norm linalg_norm matrix_norm linalg_matrix_norm frobenius_norm",
    "prod": "prod cumprod",
    "variance": "var std",
    "logsumexp": "logsumexp",
    "respelled": " ".join(RESPELLED),
    "open": f"multi_head_attention_forward normalize glu local_response_norm {' '.join(BODIES)}",
    "attention": "scaled_dot_product_attention",
    "recurrent": "lstm gru rnn_tanh rnn_relu lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell",
    "independent": INDEPENDENT,
    "leak": LEAK,
    "iterate": "__iter__",
}.items():
    for _name in _names.split():
        KINDS[_name] = _kind

SIMPLE = frozenset(("linear", "convolution", "nonlinearity", "max-pool", "batch-norm", "structural", "sum"))
USER_KINDS = ("structural", "sum", "nonlinearity")
_registered: dict[Hashable, str | Callable[..., Any]] = {}
# Names whose plain spelling is another one's: operators, aliases of torch.special, ATen's spellings.
_SAME = {
    "expit": "sigmoid",
    "radd": "add",
    "rmul": "mul",
    "truediv": "div",
    "rtruediv": "rdiv",
    "invert": "bitwise_not",
    "negative": "neg",
    "multiply": "mul",
    "divide": "div",
    "true_divide": "div",
    "subtract": "sub",
    "_softmax": "softmax",
    "_log_softmax": "log_softmax",
    "_adaptive_avg_pool2d": "adaptive_avg_pool2d",
    "_unsafe_view": "view",
    "linalg_vector_norm": "vector_norm",
    "clip": "clamp",
    "arctan2": "atan2",
    "gammaln": "lgamma",
    "psi": "digamma",
    "multigammaln": "mvlgamma",
    "floordiv": "floor_divide",
    "rfloordiv": "floor_divide",
    "mod": "remainder",
    "rmod": "remainder",
    "pos": "positive",
    "_threshold": "threshold",
    "linalg_matmul": "matmul",
    "linalg_matrix_norm": "matrix_norm",
    "max_pool1d_with_indices": "max_pool1d",
    "max_pool2d_with_indices": "max_pool2d",
    "max_pool3d_with_indices": "max_pool3d",
    "adaptive_max_pool1d_with_indices": "adaptive_max_pool1d",
    "adaptive_max_pool2d_with_indices": "adaptive_max_pool2d",
    "adaptive_max_pool3d_with_indices": "adaptive_max_pool3d",
    "_adaptive_avg_pool3d": "adaptive_avg_pool3d",
    "upsample_linear1d": "interpolate",
    "upsample_bilinear2d": "interpolate",
    "upsample_trilinear3d": "interpolate",
    "upsample_bicubic2d": "interpolate",
    "upsample_nearest1d": "interpolate",
    "upsample_nearest2d": "interpolate",
    "upsample_nearest3d": "interpolate",
    "_upsample_nearest_exact1d": "interpolate",
    "_upsample_nearest_exact2d": "interpolate",
    "_upsample_nearest_exact3d": "interpolate",
    "_upsample_bilinear2d_aa": "interpolate",
    "_upsample_bicubic2d_aa": "interpolate",
}
_DUNDERS_KEPT = {"getitem", "setitem", "iter", "array", "float", "int", "index", "complex", "dlpack", "reduce_ex"}


@dataclass(frozen=True)
class Operation:
    """What a call is: its plain name, its kind (empty if unknown) and whether it changes its first argument.

    `body` is the decomposition that somebody registered for it.
    """

    name: str
    kind: str
    in_place: bool
    body: Callable[..., Any] | None = None

    @cached_property
    def simple(self) -> bool:
        """Whether its calls, of one tensor and without keywords that say more, are what its kind's rule is for."""
        opened = self.body is not None or any(self.name in table for table in (BODIES, LINEAR_IN, OF_CONSTANTS))
        return self.kind in SIMPLE and not (opened or "dropout" in self.name or self.name == "rrelu")


def register(function: Callable[..., Any], meaning: str | Callable[..., Any]) -> Callable[..., Any]:
    """Tell the engine what an operation that it does not know is; returns the function.

    Every method then has a rule for it: values stay the operation's own, bit for bit, derivatives are the rule's.

    Args:
        function: what the model calls, as the error names it: a function that torch can override, an operator of
            `torch.ops` or `torch.library`, or a `torch.autograd.Function` class (its own backward pass is then
            replaced by the rule).
        meaning: `structural` (rearranges or chooses values), `sum` (linear in its tensors, without weights) or
            `nonlinearity` (elementwise in its one tensor); or, for any other operation, a function of the same
            arguments and results, written in operations that the engine knows: their rules are then its rule.

    Raises: InputError for another kind.
    """
    if not callable(meaning) and meaning not in USER_KINDS:
        raise InputError(
            f"Expected kind to be one of {', '.join(USER_KINDS)}, or a function that does the same in known "
            f"operations, but got {meaning!r}."
        )
    _registered[_packet(function)] = meaning
    identify.cache_clear()
    return function


def registered() -> dict[Hashable, Operation]:
    """What `register` was told, by function."""
    return {function: _told(function, meaning) for function, meaning in _registered.items()}


def _packet(function: Any) -> Any:
    """What stands for all overloads of an operator, also where `torch.library.custom_op` made it."""
    function = getattr(function, "_opoverload", function)
    return function.overloadpacket if isinstance(function, OpOverload) else function


def _told(function: Any, meaning: str | Callable[..., Any]) -> Operation:
    name = getattr(function, "__name__", str(function))
    return Operation(name, meaning, False) if isinstance(meaning, str) else Operation(name, "open", False, meaning)


def key(function: Callable[..., Any]) -> Callable[..., Any]:
    """What stands for the function in a table: a property's getter is a new object at each access."""
    return function.__self__ if getattr(function, "__name__", "") == "__get__" else function  # type: ignore[attr-defined]


@cache
def identify(function: Callable[..., Any]) -> Operation:
    """The operation behind what a mode was handed (through `key`)."""
    if _packet(function) in _registered:
        return _told(function, _registered[_packet(function)])
    if isinstance(function, OpOverload | OpOverloadPacket):
        packet = function.overloadpacket if isinstance(function, OpOverload) else function
        space, name = packet._qualified_op_name.split("::")
        if space != "aten":
            name = f"{space}::{name}"
            return Operation(name, KINDS.get(name, ""), False)
    else:
        name = getattr(function, "__name__", "")
        if not _is_torch(function):
            return Operation(name or str(function), "", False)
    return _named(name)


def _named(name: str) -> Operation:
    if name.startswith("__") and name.endswith("__") and name != "__get__":
        bare = name[2:-2]
        if bare in _DUNDERS_KEPT:
            return Operation(name, KINDS[name], bare == "setitem")
        in_place = bare.startswith("i") and bare[1:] in ("add", "sub", "mul", "div", "truediv", "pow", "matmul")
        bare = _SAME.get(bare[1:] if in_place else bare, bare[1:] if in_place else bare)
        return Operation(bare, KINDS.get(bare, ""), in_place)
    bare = name.removeprefix("special_")
    if KINDS.get(bare.removesuffix("_copy")) == "structural":  # a view's copy
        bare = bare.removesuffix("_copy")
    if bare in KINDS and KINDS[bare] in ("write", "structural"):
        return Operation(bare, KINDS[bare], bare.endswith("_") and KINDS[bare] == "write")
    in_place = bare.endswith("_")
    bare = bare.removesuffix("_")
    bare = _SAME.get(bare, bare)
    return Operation(bare, KINDS.get(bare, ""), in_place)


def _is_torch(function: Callable[..., Any]) -> bool:
    if type(function).__name__ == "getset_descriptor":  # a property of Tensor
        return True
    module = getattr(function, "__module__", None) or ""
    owner = getattr(function, "__objclass__", None)
    return (
        module.split(".")[0] == "torch"
        or (owner is not None and owner.__module__.split(".")[0] == "torch")
        or resolve_name(function) is not None
    )
