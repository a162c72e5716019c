import functools
import operator
from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.lax import Precision
from jax.scipy.special import erfc
from jaxtyping import Array, Float, PyTree

from ..lattice import Lattice
from ._coulomb_divergence import AbstractCoulomb, CoulombDivergence
from ._ewald_split import background, choose_split, madelung
from ._potential import ParameterFunction, as_scalar


class Ewald(AbstractCoulomb):
    """Coulomb interaction of point charges in a periodic cell with a neutralising background (Ewald sum).

    With ψ the zero-average periodic potential of a unit charge and ξ = lim_{r→0} ψ(r) - 1/r its self-image
    (Madelung) constant,

        V = strength [Σ_{i<j} q_i q_j ψ(r_ij) + (ξ/2) Σ_i q_i²],

    in two dimensions (1/r in the plane) or three. ψ is split at a length 1/α into a sum over few images (only
    the nearest if α is large enough) and a sum over |G| <= G_max,

        ψ(r) = Σ_t erfc(α|r+t|)/|r+t| + Σ_{G≠0} c_G cos(G·r) - c_0,
        2D: c_G = 2π/(ΩG) erfc(G/2α), c_0 = 2√π/(αΩ);   3D: c_G = 4π/(ΩG²) exp(-G²/4α²), c_0 = π/(α²Ω).

    The reciprocal sum uses the structure factor, Σ_{i<j} q_i q_j cos G·r_ij = (|ρ_G|² - Σ_i q_i²)/2, as one
    matrix product over the electrons. Images and vectors are chosen by radius in the shortest basis, so that
    skewed, elongated and left-handed cells give the same energy. One electron has the energy ξ/2.

    **Arguments:**

    - `lattice`: the periodic cell (of the supercell), in two or three dimensions.
    - `accuracy`: truncation error of a pair's potential, relative to one over the cell's length.
    - `strength`: a number, or a function of the Hamiltonian's parameters.
    - `charges`: one charge per particle; `None` means unit charges, any number of them.
    - `splitting`: α in inverse effective Bohr radii; by default the cheapest. It changes no result.
    - `electrons`: number of electrons for which the cost is balanced; it changes no result.

    Raises `ValueError` if the lattice is one-dimensional, or the accuracy or α is not positive.
    """

    lattice: Lattice
    strength: float | ParameterFunction
    weights: Float[Array, "2 rows last"]
    charges: tuple[float, ...] | None = eqx.field(static=True)
    accuracy: float = eqx.field(static=True)
    splitting: float = eqx.field(static=True)
    madelung: float = eqx.field(static=True)
    _rows: tuple[tuple[int, ...], ...] = eqx.field(static=True)
    _images: tuple[tuple[float, ...], ...] = eqx.field(static=True)
    _nearest_only: bool = eqx.field(static=True)
    _half_sum: float = eqx.field(static=True)

    def __init__(
        self,
        lattice: Lattice,
        *,
        accuracy: float = 1e-10,
        strength: float | ParameterFunction = 1.0,
        charges: Sequence[float] | None = None,
        splitting: float | None = None,
        electrons: int = 16,
    ):
        if lattice.dim not in (2, 3):
            raise ValueError(f"an Ewald sum needs two or three dimensions, got {lattice.dim}")
        if not 0 < accuracy < 1:
            raise ValueError(f"the accuracy must lie between 0 and 1, got {accuracy:g}")
        if splitting is not None and not splitting > 0:
            raise ValueError(f"the splitting parameter must be positive, got {splitting:g}")
        split = choose_split(lattice, accuracy, electrons, splitting)
        self.lattice = lattice
        self.strength = strength
        self.weights = jnp.asarray(np.stack([split.plus, split.minus]), dtype=float)
        self.charges = None if charges is None else tuple(float(q) for q in charges)
        self.accuracy = float(accuracy)
        self.splitting = float(split.alpha)
        self.madelung = madelung(lattice)
        self._rows = tuple(tuple(int(n) for n in row) for row in split.rows)
        self._images = tuple(tuple(float(x) for x in t) for t in split.images)
        self._nearest_only = split.nearest_only
        self._half_sum = float(np.sum(split.plus + split.minus))

    @property
    def divergence(self) -> CoulombDivergence:
        return CoulombDivergence(self.strength, self.charges)

    def __call__(self, r: Float[Array, "electrons dim"], parameters: PyTree) -> Float[Array, ""]:
        charges = self._charges(r.shape[0])
        square, total2 = float(np.sum(charges**2)), float(np.sum(charges) ** 2)
        c0 = background(self.lattice, self.splitting)
        # In float64, before rounding: the self term, the diagonal of the structure factor and the background.
        constant = square * (0.5 * self.madelung - self._half_sum) - 0.5 * (total2 - square) * c0
        energy = self._real_part(r) + self._reciprocal_part(r) + jnp.asarray(constant, r.dtype)
        return as_scalar(self.strength, parameters, r.dtype) * energy

    def _charges(self, electrons: int) -> np.ndarray:
        if self.charges is None:
            return np.ones(electrons)
        if len(self.charges) != electrons:
            raise ValueError(f"the Ewald sum has {len(self.charges)} charges, but {electrons} particles")
        return np.array(self.charges)

    def _real_part(self, r: Float[Array, "electrons dim"]) -> Float[Array, ""]:
        """Σ_{i<j} q_i q_j Σ_t erfc(α|r_ij + t|)/|r_ij + t|."""
        dim = r.shape[1]
        basis = self.lattice.reduced
        inverse = np.linalg.inv(basis)
        images = np.array(self._images)
        # Component by component: a trailing axis of two or three would spoil vectorisation.
        x = [_pair_differences(r[:, k]) for k in range(dim)]
        cells = [jnp.round(_combine(x, inverse[:, k])) for k in range(dim)]
        x = [x[k] - _combine(cells, basis[:, k]) for k in range(dim)]
        if self._nearest_only:
            # A chain of minima over these few images is several times faster than a reduction.
            copies = [[x[k] + t[k] for k in range(dim)] for t in images.tolist()]
            lengths = [_combine([c**2 for c in copy], np.ones(dim)) for copy in copies]
            distance2 = functools.reduce(jnp.minimum, lengths)[None, :]
        else:
            x = [x[k][None, :] + jnp.asarray(images[:, [k]], r.dtype) for k in range(dim)]
            distance2 = _combine([c**2 for c in x], np.ones(dim))
        distance = jnp.sqrt(distance2)
        potential = erfc(self.splitting * distance) / distance
        if self.charges is not None:
            charges = np.array(self.charges)
            first, second = _pairs(r.shape[0])
            potential = potential * jnp.asarray(charges[first] * charges[second], r.dtype)[None, :]
        return jnp.sum(potential)

    def _reciprocal_part(self, r: Float[Array, "electrons dim"]) -> Float[Array, ""]:
        """Σ_{G in half space} c_G |ρ_G|²."""
        dtype, dim = r.dtype, r.shape[1]
        rows = np.array(self._rows, dtype=np.int64)
        last = self.weights.shape[2] - 1
        inverse = jnp.asarray(np.linalg.inv(self.lattice.reduced), dtype)
        turns = jnp.matmul(r, inverse, precision=Precision.HIGHEST)
        turns = turns - jnp.round(turns)
        tables = [_harmonics(turns[:, k], int(np.abs(rows[:, k]).max())) for k in range(dim - 1)]
        cosine, sine = tables[0][0][rows[:, 0]], tables[0][1][rows[:, 0]]
        for k in range(1, dim - 1):
            order = np.abs(rows[:, k])
            sign = jnp.asarray(np.sign(rows[:, k])[:, None], dtype)
            c, s = tables[k][0][order], sign * tables[k][1][order]
            cosine, sine = cosine * c - sine * s, sine * c + cosine * s
        c, s = _harmonics(turns[:, -1], last)
        if self.charges is not None:
            q = jnp.asarray(np.array(self.charges), dtype)[None, :]
            c, s = q * c, q * s
        left, right = jnp.concatenate([cosine, sine]), jnp.concatenate([c, s])
        product = jnp.matmul(left, right.T, precision=Precision.HIGHEST)
        n, m = len(rows), last + 1
        cc, cs, sc, ss = product[:n, :m], product[:n, m:], product[n:, :m], product[n:, m:]
        # |ρ|² for ±n_d, from e^{i(a ± b)} = (cc ∓ ss) + i(sc ± cs).
        plus, minus = self.weights[0].astype(dtype), self.weights[1].astype(dtype)
        return jnp.sum(plus * ((cc - ss) ** 2 + (sc + cs) ** 2) + minus * ((cc + ss) ** 2 + (sc - cs) ** 2))


def _pairs(electrons: int) -> tuple[np.ndarray, np.ndarray]:
    """All pairs, ordered by cyclic distance: (i, i + 1 mod N) for every i, then (i, i + 2 mod N), ..."""
    shift, first = np.divmod(np.arange(electrons * (electrons - 1) // 2), electrons)
    return first, (first + shift + 1) % electrons


def _pair_differences(x: Float[Array, " electrons"]) -> Float[Array, " pairs"]:
    """x_j - x_i in the order of `_pairs`, without a gather, which would cost more than the interaction.

    Row s of copies of x laid out with N + 1 entries a row is x shifted by s.
    """
    electrons = x.shape[0]
    rows = electrons // 2
    copies = jnp.tile(x, rows + 3)[electrons + 1 : (rows + 1) * (electrons + 1)]
    shifted = copies.reshape(rows, electrons + 1)[:, :electrons]
    return (shifted - x[None, :]).reshape(-1)[: electrons * (electrons - 1) // 2]


def _combine(components: list[Array], coefficients: np.ndarray) -> Array:
    return functools.reduce(operator.add, [float(c) * x for c, x in zip(coefficients, components, strict=True)])


def _harmonics(
    turns: Float[Array, " electrons"], last: int
) -> tuple[Float[Array, "orders electrons"], Float[Array, "orders electrons"]]:
    """cos(2πn·turns) and sin(2πn·turns) for n = 0 ... last, exact up to the rounding of the angles between -π and π.

    The leading half of the digits times n has no rounding error, nor has the number of whole turns in it.
    """
    digits = 2.0 ** (jnp.finfo(turns.dtype).nmant // 2)
    leading = jnp.round(turns * digits) / digits
    orders = jnp.arange(last + 1, dtype=turns.dtype)[:, None]
    whole = orders * leading[None]
    angles = float(2 * np.pi) * (whole - jnp.round(whole) + orders * (turns - leading)[None])
    return jnp.cos(angles), jnp.sin(angles)
