"""Why an operation has no rule, where there is more to say than that nobody wrote one."""

from heatproof.propagation.calls import Call
from heatproof.propagation.unsupported import UnsupportedCallError

STEPS = "it is constant between its steps: it has no derivative, and no share of it belongs to the input"
RANDOM = "it draws random numbers, in eval mode, too"
REGIONS = "it draws its regions at random, in eval mode, too"
REASONS = {
    STEPS: "ceil fix floor floor_divide heaviside histc histogram round sgn sign trunc",
    RANDOM: """
        bernoulli binomial cauchy exponential geometric gumbel_softmax log_normal multinomial normal poisson random
        rrelu_with_noise uniform _standard_gamma
    """,
    "it decomposes or inverts a matrix that depends on the input": """
        cholesky cholesky_inverse cholesky_solve det geqrf householder_product inverse linalg_cholesky
        linalg_cholesky_ex linalg_cond linalg_det linalg_eig linalg_eigh linalg_eigvals linalg_eigvalsh
        linalg_householder_product linalg_inv linalg_inv_ex linalg_ldl_factor linalg_lstsq linalg_lu linalg_lu_factor
        linalg_matrix_exp linalg_matrix_rank linalg_pinv linalg_qr linalg_slogdet linalg_solve linalg_solve_ex
        linalg_solve_triangular linalg_svd linalg_svdvals linalg_tensorinv linalg_tensorsolve lobpcg logdet lu lu_solve
        matrix_exp orgqr ormqr pca_lowrank pinverse qr slogdet
        svd svd_lowrank triangular_solve
    """,
    "it is an angle, of which neither of the two parts has a share": "angle",
    "its grid depends on the input": "affine_grid grid_sample grid_sampler grid_sampler_2d grid_sampler_3d",
}
# What to do instead, where telling the engine a rule would not help.
REMEDIES = {
    RANDOM: "A model that is explained has to be a function: hold its draws fixed, or leave them out in eval mode.",
    REGIONS: "Give it `_random_samples`.",
}
_OF = {name: why for why, names in REASONS.items() for name in names.split()}


def reason(name: str) -> str:
    """The reason in words; empty where there is none to give."""
    return _OF.get(name, "")


def refuse_underivable(call: Call) -> None:
    """Refuse what no method has a derivative of, whatever its rules are.

    Raises: UnsupportedCallError.
    """
    if call.kwargs.get("rounding_mode"):
        raise UnsupportedCallError("it rounds")
    if call.kwargs.get("out") is not None:
        raise UnsupportedCallError("it writes into `out`")
    if "fractional" in call.name:
        given = call.bind()
        if given.get("_random_samples") is None and given.get("random_samples") is None:
            raise UnsupportedCallError(REGIONS)
    if call.name == "scatter" and call.kwargs.get("reduce") is not None:
        raise UnsupportedCallError("torch has no derivative of it with reduce=; call scatter_reduce")
