"""Products of matrices and vectors under their many names."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import reduce
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from heatproof.propagation.unsupported import UnsupportedCallError


def multi_dot(tensors: Sequence[Tensor]) -> Tensor:
    """A·B·C…, from left to right."""
    return reduce(torch.matmul, tensors)


def chain_matmul(*matrices: Any) -> Tensor:
    """A·B·C…, as arguments or as a list."""
    return multi_dot(matrices[0] if len(matrices) == 1 and not isinstance(matrices[0], Tensor) else matrices)


def matrix_power(input: Tensor, n: int) -> Tensor:
    """Aⁿ for n ≥ 1."""
    if n < 1:
        raise UnsupportedCallError("only powers from 1 on have a rule")
    return reduce(torch.matmul, [input] * n)


def tensordot(a: Tensor, b: Tensor, dims: Any = 2) -> Tensor:
    """Σ over dimensions of both, as one product of matrices."""
    if isinstance(dims, int):
        first, second = list(range(a.dim() - dims, a.dim())), list(range(dims))
    else:
        first, second = ([d % t.dim() for d in places] for places, t in zip(dims, (a, b), strict=True))
    rows = [d for d in range(a.dim()) if d not in first]
    columns = [d for d in range(b.dim()) if d not in second]
    inner = prod(a.shape[d] for d in first)
    left = a.permute(*rows, *first).reshape(-1, inner)
    right = b.permute(*second, *columns).reshape(inner, -1)
    return (left @ right).view([*(a.shape[d] for d in rows), *(b.shape[d] for d in columns)])


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x₁ᵀ W_o x₂ + b_o: first the matrix that x₂ makes of W, then x₁ with it."""
    matrix = torch.einsum("...j,oij->...oi", input2, weight)
    out = (matrix @ input1[..., None]).squeeze(-1)
    return out if bias is None else out + bias


def cross(input: Tensor, other: Tensor, dim: int | None = None) -> Tensor:
    """a × b: a₊₁b₊₂ − a₊₂b₊₁, indices modulo 3. Its minus sign keeps it from being a product with a weight."""
    if dim is None:
        dim = next(i for i, size in enumerate(input.shape) if size == 3)
    return input.roll(-1, dim) * other.roll(-2, dim) - input.roll(-2, dim) * other.roll(-1, dim)


def linalg_cross(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """`cross` along the last dimension."""
    return cross(input, other, dim)


def einsum(equation: Any, *operands: Any) -> Tensor:
    """Products of more than two tensors, two at a time from left to right."""
    if not isinstance(equation, str):
        raise UnsupportedCallError("its operands stand between lists of indices; write the equation as a string")
    tensors = list(operands[0] if len(operands) == 1 and not isinstance(operands[0], Tensor) else operands)
    left, arrow, out = equation.replace(" ", "").partition("->")
    terms = [_letters(term) for term in left.split(",")]
    if not arrow:
        times = Counter(letter for term in terms for letter in term)
        result = [s for s in times if s == "..."] + sorted(s for s in times if s != "..." and times[s] == 1)
    else:
        result = _letters(out)
    while len(tensors) > 2:
        rest = {letter for term in terms[2:] for letter in term} | set(result)
        kept = [letter for letter in dict.fromkeys(terms[0] + terms[1]) if letter in rest]
        pair = f"{''.join(terms[0])},{''.join(terms[1])}->{''.join(kept)}"
        tensors[:2], terms[:2] = [torch.einsum(pair, tensors[0], tensors[1])], [kept]
    return torch.einsum(f"{','.join(''.join(term) for term in terms)}->{''.join(result)}", *tensors)


def _letters(term: str) -> list[str]:
    return [letter if letter != "." else "..." for letter in term.replace("...", ".")]


def grouped_mm(
    mat_a: Tensor, mat_b: Tensor, offs: Tensor | None = None, bias: Tensor | None = None, out_dtype: Any = None
) -> Tensor:
    """One matrix product a group: rows of `mat_a` (M, K) up to each offset with their own of `mat_b` (G, K, N).

    Shapes beside that one: (G, M, K) with (G, K, N), a batch of products; (G, M, K) with (K, N), whose columns are
    grouped; (M, K) with (K, N), whose inner dimension is.
    """
    if offs is None:
        product = mat_a @ mat_b
    else:
        ends: list[int] = offs.tolist()
        spans = list(zip([0, *ends[:-1]], ends, strict=True))
        if mat_a.dim() == 2 and mat_b.dim() == 3:
            product = torch.cat([mat_a[i:j] @ mat_b[g] for g, (i, j) in enumerate(spans)])
            product = F.pad(product, (0, 0, 0, len(mat_a) - ends[-1]))
        elif mat_a.dim() == 3:
            product = torch.cat([mat_a[g] @ mat_b[:, i:j] for g, (i, j) in enumerate(spans)], 1)
        else:
            product = torch.stack([mat_a[:, i:j] @ mat_b[i:j] for i, j in spans])
    return product if bias is None else product + bias


def solve_triangular(A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False) -> Tensor:
    """X with A X = B (or X A = B), one row after the other: x_i = (b_i − Σ_{j<i} a_ij x_j)/a_ii."""
    if not left:
        return solve_triangular(A.mT, B.mT, upper=not upper, unitriangular=unitriangular).mT
    size = A.shape[-1]
    order = list(range(size - 1, -1, -1) if upper else range(size))
    rows: dict[int, Tensor] = {}
    for i in order:
        row = B[..., i, :]
        if rows:
            known = torch.stack(list(rows.values()), -2)
            row = row - (A[..., i, list(rows), None] * known).sum(-2)
        rows[i] = row if unitriangular else row / A[..., i, i, None]
    return torch.stack([rows[i] for i in range(size)], -2)


def conv_tbc(input: Tensor, weight: Tensor, bias: Tensor, pad: int = 0) -> Tensor:
    """A convolution over time of (time, batch, channels), weight (width, inputs, outputs)."""
    return F.conv1d(input.permute(1, 2, 0), weight.permute(2, 1, 0), bias, padding=pad).permute(2, 0, 1)


def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """a bᵀ under its old name."""
    return input[:, None] * vec2


BODIES: dict[str, Callable[..., Any]] = {
    "linalg_multi_dot": multi_dot,
    "chain_matmul": chain_matmul,
    "matrix_power": matrix_power,
    "linalg_matrix_power": matrix_power,
    "bilinear": bilinear,
    "cross": cross,
    "linalg_cross": linalg_cross,
    "_grouped_mm": grouped_mm,
    "grouped_mm": grouped_mm,
    "transformers::grouped_mm_fallback": grouped_mm,
    "conv_tbc": conv_tbc,
    "ger": outer,
    "tensordot": tensordot,
}
OF_SEVERAL: dict[str, Callable[..., Any]] = {"linalg_solve_triangular": solve_triangular}
OF_CONSTANTS: dict[str, Callable[..., Any]] = {"einsum": einsum}
