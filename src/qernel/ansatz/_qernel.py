"""The QERNEL wavefunction: conditioned grouped-query attention and experts, orbitals, determinants, Jastrow."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Complex, Float, PRNGKeyArray

from qernel.hamiltonian import NuclearCusp, without_phase
from qernel.layers import (
    AbstractEmbedding,
    AbstractGate,
    AbstractPairBias,
    AbstractRouter,
    DensityWaves,
    FiLM,
    Frozen,
    GroupedQueryAttention,
    JointRouter,
    Linear,
    MixtureOfExperts,
    PeriodicEmbedding,
    RMSNorm,
    Softmax,
)
from qernel.orbitals import (
    AbstractOrbitals,
    AbstractPairFactor,
    CuspJastrow,
    CuspStrength,
    NuclearJastrow,
    PairJastrow,
    check_spins,
    log_sum_determinants,
)
from qernel.precision import precision as precision_of
from qernel.propagation import (
    AbstractDirections,
    EveryCoordinate,
    Jet,
    PairJet,
    Probes,
    add,
    constant_features,
    own_jet,
)

from ._conditioner import Conditioner
from ._contract import Derivatives, LogPsi
from ._dressed import dressed_derivatives, dressed_probed_derivatives
from ._stacked import stacked


class QernelBlock(eqx.Module):
    r"""One residual block: attention, then experts, each on FiLM-modulated normalised features.

    Without a FiLM layer (None) the normalised features are used as they are.

    $$ h \leftarrow h + \mathrm{GQA}\bigl(\mathrm{FiLM}_c(\mathrm{norm}\,h)\bigr), \qquad
       h \leftarrow h + \mathrm{MoE}\bigl(\mathrm{FiLM}_c(\mathrm{norm}\,h),\, c\bigr) $$

    **Source:** QERNEL, arXiv:2604.26018.
    """

    attention_norm: RMSNorm
    attention_film: FiLM | None
    attention: GroupedQueryAttention
    experts_norm: RMSNorm
    experts_film: FiLM | None
    experts: MixtureOfExperts

    def __call__(
        self,
        h: Float[Array, "electrons features"],
        condition: Float[Array, " condition"],
        pair_bias: Float[Array, "heads electrons electrons"] | None = None,
    ) -> Float[Array, "electrons features"]:
        """Update the electrons' features."""
        h, x = self.attended(h, condition, pair_bias)
        return h + self.experts(x, condition)

    def attended(
        self,
        h: Float[Array, "electrons features"],
        condition: Float[Array, " condition"],
        pair_bias: Float[Array, "heads electrons electrons"] | None = None,
    ) -> tuple[Float[Array, "electrons features"], Float[Array, "electrons features"]]:
        """The features after the attention, and what the experts see of them."""
        h = h + self.attention(_modulated(self.attention_film, self.attention_norm(h), condition), pair_bias)
        return h, _modulated(self.experts_film, self.experts_norm(h), condition)

    def propagate(self, h: Jet, condition: Float[Array, " condition"], pair_bias: PairJet | None = None) -> Jet:
        """The block with derivatives: see [`Jet`][qernel.propagation.Jet]."""

        def modulated(film, x):
            return x if film is None else film.propagate(x, condition)

        attended = self.attention.propagate(modulated(self.attention_film, self.attention_norm.propagate(h)), pair_bias)
        h = add(h, attended)
        return add(h, self.experts.propagate(modulated(self.experts_film, self.experts_norm.propagate(h)), condition))


def _modulated(film: FiLM | None, x: Array, condition: Array) -> Array:
    return x if film is None else film(x, condition)


class Qernel(eqx.Module):
    r"""One wavefunction for a family of Hamiltonians,

    $$ \psi(r;\lambda) = e^{J(r;\lambda)} \sum_d w_d(\lambda)\,
       \det\bigl[\phi^d_j(r_i;\lambda)\,\bigl(1 + f^d_j(h_i)\bigr)\bigr] , $$

    where the features $h_i$ of electron i come from an embedding of all positions, periodic in a cell or open, through
    blocks of FiLM-modulated grouped-query attention and mixture of experts, all conditioned on λ;
    $\phi^d_j(r;\lambda)$ are reference orbitals (plane waves, Bloch or Hartree-Fock orbitals of the same λ, levels of a
    trap), dressed by the network's many-electron factor $1 + f$; and J satisfies the cusp conditions. Antisymmetric
    within each spin because the network is permutation-equivariant.

    Built by [`qernel.ansatz.qernel`][], which chooses sizes; every field may also be set by hand.
    Positions in effective Bohr radii (or the unit of the Hamiltonian).

    **Source:** QERNEL, arXiv:2604.26018; attention wavefunctions, arXiv:2211.13672.
    """

    conditioner: Conditioner
    embedding: AbstractEmbedding
    lift: Linear
    blocks: tuple[QernelBlock, ...]
    pair_biases: tuple[AbstractPairBias, ...]
    dressing: Linear
    references: tuple[Frozen, ...]
    weight_head: Linear
    initial_weights: tuple[float, ...] = eqx.field(static=True)
    cusp: CuspJastrow | None
    pair: AbstractPairFactor | None
    electrons: tuple[int, int] = eqx.field(static=True)
    determinants: int = eqx.field(static=True)
    complex: bool = eqx.field(static=True)
    precision: str = eqx.field(static=True, default="mixed")
    nuclear: NuclearJastrow | None = None
    density: DensityWaves | None = None

    def __call__(self, r: Float[Array, "electrons dim"], parameters: Any) -> LogPsi:
        """Logarithm of ψ at one configuration `r`."""
        condition = self.conditioner(parameters).astype(r.dtype)
        matrices = self.orbital_matrices(r, parameters, condition)
        log_magnitude, phase = log_sum_determinants(matrices, self.weights(condition))
        log_magnitude = log_magnitude + self.jastrow(r, parameters, condition)
        return LogPsi(log_magnitude, phase, real=not self.complex)

    def weights(self, condition: Float[Array, " condition"]) -> Float[Array, " determinants"]:
        """Weight of each determinant, which depends on λ alone."""
        start = jnp.asarray(self.initial_weights, condition.dtype)
        return start + self.weight_head(condition[None])[0]

    def jastrow(
        self, r: Float[Array, "electrons dim"], parameters: Any, condition: Float[Array, " condition"]
    ) -> Float[Array, ""]:
        """Logarithm J of the Jastrow factor."""
        total = jnp.zeros((), r.dtype)
        if self.cusp is not None:
            total = total + self.cusp(r, parameters)
        if self.nuclear is not None:
            total = total + self.nuclear(r, parameters)
        if self.pair is not None:
            total = total + self.pair(r, without_phase(parameters), condition)
        return total

    def derivatives(self, r: Float[Array, "electrons dim"], parameters: Any) -> Derivatives:
        """log ψ with its gradient and Laplacian in one forward sweep with closed rules for every layer."""
        condition = self.conditioner(parameters).astype(r.dtype)
        found = dressed_derivatives(
            self._dressing_jet(r, parameters, condition, EveryCoordinate()),
            self.references,
            self.weights(condition),
            r,
            parameters,
            jastrows=self._jastrow_derivatives(r, parameters, condition),
            wide=precision_of(self.precision).wide,
        )
        if not (found.log_psi.real or self.complex):
            raise ValueError(_COMPLEX_REFERENCES)
        return found

    def probed_derivatives(self, r: Float[Array, "electrons dim"], parameters: Any, probes: Probes) -> Derivatives:
        """log ψ with its gradient, and an estimate of its Laplacian along random directions: see
        [`ProbedLaplacian`][qernel.laplacian.ProbedLaplacian]."""
        condition = self.conditioner(parameters).astype(r.dtype)
        found = dressed_probed_derivatives(
            self._dressing_jet(r, parameters, condition, probes),
            lambda x: self.dressing(self.features(x, parameters, condition)),
            self.references,
            self.weights(condition),
            r,
            parameters,
            probes,
            jastrows=self._jastrow_derivatives(r, parameters, condition),
            wide=precision_of(self.precision).wide,
        )
        if not (found.log_psi.real or self.complex):
            raise ValueError(_COMPLEX_REFERENCES)
        return found

    def _jastrow_derivatives(self, r, parameters, condition):
        found = []
        if self.cusp is not None:
            found.append(self.cusp.derivatives(r, parameters))
        if self.nuclear is not None:
            found.append(self.nuclear.derivatives(r, parameters))
        if self.pair is not None:
            found.append(self.pair.derivatives(r, without_phase(parameters), condition))
        return found

    def _dressing_jet(
        self,
        r: Float[Array, "electrons dim"],
        parameters: Any,
        condition: Float[Array, " condition"],
        directions: AbstractDirections,
    ) -> Jet:
        """What the dressing of the `features` is, with derivatives along the directions."""
        plain = without_phase(parameters)
        embedded = inputs = own_jet(lambda x: self.embedding(x, plain), r, directions)
        if self.electrons[1]:
            inputs = constant_features(inputs, self._spins(r.dtype))
        h = self.lift.propagate(inputs)

        def layer(h, modules):
            block, bias = modules
            return block.propagate(h, condition, bias.propagate(embedded)), None

        layers = list(zip(self.blocks, self.pair_biases, strict=True))
        if layers:
            # The first is alone: what enters it depends on one electron only. The others are compiled once.
            h, _ = layer(h, layers[0])
        if len(layers) > 1:
            h, _ = jax.lax.scan(layer, h, jax.tree.map(lambda *leaves: jnp.stack(leaves), *layers[1:]))
        h = h.dense()
        if self.density is not None:
            h = add(h, self.density.propagate(r, condition, directions))
        return self.dressing.propagate(h)

    def _spins(self, dtype: DTypeLike) -> Float[Array, "electrons 1"]:
        return jnp.asarray(np.repeat([1.0, -1.0], self.electrons)[:, None], dtype)

    def _lifted(self, r: Float[Array, "electrons dim"], parameters: Any) -> tuple[Array, Array]:
        """Embedded positions, and the features before the first block."""
        embedded = inputs = self.embedding(r, without_phase(parameters))
        if self.electrons[1]:
            inputs = jnp.concatenate([inputs, self._spins(r.dtype)], axis=-1)
        return embedded, self.lift(inputs)

    def features(
        self, r: Float[Array, "electrons dim"], parameters: Any, condition: Float[Array, " condition"]
    ) -> Float[Array, "electrons features"]:
        """Features of the electrons after the last block."""
        embedded, h = self._lifted(r, parameters)
        for block, bias in zip(self.blocks, self.pair_biases, strict=True):
            h = block(h, condition, bias(embedded))
        return h if self.density is None else h + self.density(r, condition)

    def expert_gates(
        self, r: Float[Array, "electrons dim"], parameters: Any
    ) -> Float[Array, "layers electrons experts"]:
        """Weight of each expert for each electron in every block."""
        condition = self.conditioner(parameters).astype(r.dtype)
        embedded, h = self._lifted(r, parameters)
        gates = []
        for block, bias in zip(self.blocks, self.pair_biases, strict=True):
            h, x = block.attended(h, condition, bias(embedded))
            gates.append(block.experts.gates(x, condition))
            h = h + block.experts(x, condition)
        return jnp.stack(gates)

    def orbital_matrices(
        self, r: Float[Array, "electrons dim"], parameters: Any, condition: Float[Array, " condition"]
    ) -> Float[Array, "determinants electrons electrons"] | Complex[Array, "determinants electrons electrons"]:
        """The matrices whose determinants are summed."""
        features = self.features(r, parameters, condition)
        outputs = self.dressing(features).reshape(len(features), -1, self.determinants, sum(self.electrons))
        if self.complex:
            factor = jax.lax.complex(1 + outputs[:, 0], outputs[:, 1])
        else:
            factor = 1 + outputs[:, 0]
        repeats = self.determinants // len(self.references)
        orbitals = stacked([orbital(r, parameters) for orbital in self.references], axis=1)
        if jnp.iscomplexobj(orbitals) and not self.complex:
            raise ValueError(_COMPLEX_REFERENCES)
        orbitals = jnp.repeat(orbitals, repeats, axis=1).astype(factor.dtype)
        return jnp.swapaxes(orbitals * factor, 0, 1)


_SIZES = ("width", "query_heads", "key_value_heads", "experts", "determinants", "condition_size")


def _check_sizes(electrons, references, layers, initial_weights, *numbers, **others):
    sizes = dict(zip(_SIZES, numbers, strict=True)) | others
    if not references:
        raise ValueError(
            "the determinants need at least one set of reference orbitals: plane_wave_orbitals(cell, n), say"
        )
    for reference in references:
        check_spins(reference, electrons)
        if reference.orbitals != sum(electrons):
            raise ValueError(
                f"{sum(electrons)} electrons need as many orbitals, the reference has {reference.orbitals}"
            )
    for name, size in sizes.items():
        if size is not None and size < 1:
            raise ValueError(f"{name} must be at least 1, got {size}")
    if layers < 0:
        raise ValueError(f"layers must not be negative, got {layers}")
    determinants, query_heads = sizes["determinants"], sizes["query_heads"]
    if determinants % len(references):
        raise ValueError(
            f"{determinants} determinants cannot be shared evenly among {len(references)} sets of reference orbitals"
        )
    if query_heads % sizes["key_value_heads"]:
        raise ValueError(f"key_value_heads must divide query_heads, got {sizes['key_value_heads']} and {query_heads}")
    if initial_weights is not None and (len(initial_weights) != determinants or not any(initial_weights)):
        raise ValueError(
            f"{determinants} determinants need as many initial_weights, not all of them zero, got {initial_weights}"
        )


_COMPLEX_REFERENCES = (
    "the reference orbitals are complex, as those of a twist are, so the wavefunction is: complex=True"
)


def _check_real(references, family_parameters, electrons, dim):
    """Raises `ValueError` if a reference is complex: its imaginary part would be lost."""

    def of_one(leaf):
        return jax.ShapeDtypeStruct(jnp.shape(leaf)[1:], jnp.result_type(leaf))

    parameters = jax.tree.map(of_one, without_phase(family_parameters))
    r = jax.ShapeDtypeStruct((sum(electrons), dim), jnp.result_type(float))
    for reference in references:
        if jnp.issubdtype(eqx.filter_eval_shape(reference, r, parameters).dtype, jnp.complexfloating):
            raise ValueError(_COMPLEX_REFERENCES)


def qernel(
    family_parameters: Any,
    electrons: tuple[int, int],
    embedding: AbstractEmbedding | np.ndarray,
    references: tuple[AbstractOrbitals, ...],
    *,
    key: PRNGKeyArray,
    cusp_strength: CuspStrength | None,
    squared_distance: eqx.Module | None = None,
    cusp_range: float | None = 2.0,
    nuclear_cusp: NuclearCusp | None = None,
    pair: Callable[..., AbstractPairFactor] | np.ndarray | None = None,
    density_waves: np.ndarray | None = None,
    width: int = 32,
    layers: int = 2,
    query_heads: int = 4,
    key_value_heads: int = 2,
    head_size: int | None = None,
    experts: int = 4,
    expert_width: int | None = None,
    determinants: int = 4,
    condition_size: int = 16,
    initial_weights: tuple[float, ...] | None = None,
    complex: bool = False,
    router: Callable[..., AbstractRouter] = JointRouter,
    gate: AbstractGate | None = None,
    film: bool = True,
    dressing_scale: float = 0.1,
    dtype: DTypeLike = jnp.float32,
    precision: str = "mixed",
) -> Qernel:
    """Assemble a [`Qernel`][qernel.ansatz.Qernel] wavefunction.

    **Arguments:**

    - `family_parameters`: parameters of the family, with a leading axis (sets the range of the conditioning).
    - `electrons`: (n_up, n_down).
    - `embedding`: of the positions: an [`OpenEmbedding`][qernel.layers.OpenEmbedding], say. An array in its place holds
      the vectors G, inverse length, of a [`PeriodicEmbedding`][qernel.layers.PeriodicEmbedding].
    - `references`: one or more sets of reference orbitals, as many as electrons; the determinants are shared evenly
      among the sets. For electrons of both spins [`SpinBlocks`][qernel.orbitals.SpinBlocks].
    - `cusp_strength`: strength of the repulsion over the kinetic prefactor, a function of the parameters, which is
      never trained: [`Hamiltonian.cusp`][qernel.hamiltonian.Hamiltonian.cusp] of the family. None for a Hamiltonian
      without Coulomb repulsion (its `cusp` is None): there is no cusp factor then.
    - `squared_distance`: periodic squared distance for the cusp; open boundaries without one.
    - `cusp_range`: starting range of the cusp factors in the unit of length; None for no cusp between electrons.
    - `nuclear_cusp`: of a Hamiltonian with nuclei
      [`Hamiltonian.nuclear_cusp`][qernel.hamiltonian.Hamiltonian.nuclear_cusp], for orbitals that are smooth there.
    - `pair`: the smooth pair factor; None for none. A function called with `electrons`, `condition_size`, `key` and
      `dtype`, such as `functools.partial(OpenPairJastrow, dim=2, length=1.0)`; see
      [`OpenPairJastrow`][qernel.orbitals.OpenPairJastrow]. An array in its place holds the vectors G of a
      [`PairJastrow`][qernel.orbitals.PairJastrow].
    - `density_waves`: in a periodic cell vectors G of [`DensityWaves`][qernel.layers.DensityWaves], in which the
      orbitals follow the density around each electron; None for none.
    - `width`, `layers`, `query_heads`, `key_value_heads`, `head_size`, `experts`, `expert_width`, `determinants`,
      `condition_size`: sizes of the network.
    - `initial_weights`: starting weights of the determinants, equal by default.
    - `complex`: complex dressing of the orbitals, hence a complex wavefunction.
    - `router`, `gate`: of the experts. `router` is called with `features`, `condition_size`, `experts`, `key`,
      `dtype`; softmax gates by default; see [`MixtureOfExperts`][qernel.layers.MixtureOfExperts].
    - `film`: modulate the features by λ; without it λ enters the routing, the weights of the determinants, the
      Jastrow factor and the reference orbitals only.
    - `dressing_scale`: size of the network's factor at the start, relative to one.
    - `dtype`: of all trained parameters.
    - `precision`: how the products and determinants of a float32 wavefunction are worked out, `fast` or `mixed`; see
      [`precision`][qernel.precision.precision]. With float64 parameters all is `double`.

    **Raises:** `ValueError` for sizes that do not fit together, another number of orbitals than of electrons, complex
    references of a wavefunction that is not, or `double` precision of parameters that are not float64.
    """
    products = _products(precision, dtype)
    sizes = (width, query_heads, key_value_heads, experts, determinants, condition_size)
    _check_sizes(electrons, references, layers, initial_weights, *sizes, head_size=head_size, expert_width=expert_width)
    embedding, factor = _of_waves(embedding, pair)
    if not complex:
        _check_real(references, family_parameters, electrons, embedding.dim)
    keys = iter(jax.random.split(key, 6 + 5 * layers))
    conditioner = Conditioner(family_parameters, condition_size, key=next(keys), dtype=dtype)
    size, n = conditioner.size, sum(electrons)
    # Drawn in this order, so that one key starts the same network whatever its blocks are made of.
    lift = Linear(embedding.features + bool(electrons[1]), width, key=next(keys), dtype=dtype, precision=products)
    wide = max(width // query_heads, 1) if head_size is None else head_size
    inner = (width, query_heads, key_value_heads, wide, experts, width if expert_width is None else expert_width)
    parts = {"router": router, "gate": Softmax() if gate is None else gate, "film": film}
    blocks = tuple(_block(keys, inner, size, **parts, dtype=dtype, precision=products) for _ in range(layers))
    outputs = determinants * n * (2 if complex else 1)
    return Qernel(
        conditioner=conditioner,
        embedding=embedding,
        lift=lift,
        blocks=blocks,
        pair_biases=tuple(embedding.pair_bias(query_heads, dtype) for _ in range(layers)),
        dressing=Linear(width, outputs, key=next(keys), scale=dressing_scale, dtype=dtype, precision=products),
        references=tuple(Frozen(reference) for reference in references),
        weight_head=Linear(size, determinants, key=next(keys), scale=0.0, dtype=dtype),
        initial_weights=(1.0,) * determinants if initial_weights is None else tuple(initial_weights),
        cusp=None
        if cusp_range is None or cusp_strength is None
        else CuspJastrow(electrons, cusp_range, cusp_strength, squared_distance=squared_distance, dtype=dtype),
        pair=factor and factor(electrons=electrons, condition_size=size, key=next(keys), dtype=dtype),
        electrons=electrons,
        determinants=determinants,
        complex=complex,
        precision=precision,
        nuclear=None
        if nuclear_cusp is None
        else NuclearJastrow(nuclear_cusp, nuclear_cusp.positions, cusp_range or 2.0, dtype=dtype),
        density=None
        if density_waves is None
        # It starts at zero: no key is drawn.
        else DensityWaves(density_waves, electrons, size, width, key=key, dtype=dtype, precision=products),
    )


def _products(precision: str, dtype: DTypeLike) -> Any:
    """The precision of matrix products. Raises `ValueError` for `double` precision of parameters that are not
    float64."""
    policy = precision_of(precision)
    if policy.network == "float64" and jnp.dtype(dtype) != np.float64:
        raise ValueError(f"{precision} precision is that of float64 parameters, got {jnp.dtype(dtype)}")
    return policy.products


def _of_waves(embedding: AbstractEmbedding | np.ndarray, pair: Any) -> tuple[AbstractEmbedding, Any]:
    """Embedding and pair factor, periodic ones in the place of arrays of waves."""
    if not isinstance(embedding, AbstractEmbedding):
        embedding = PeriodicEmbedding(embedding)
    if pair is not None and not callable(pair):
        pair = functools.partial(PairJastrow, waves=pair)
    return embedding, pair


def _block(
    keys: Iterator[PRNGKeyArray],
    sizes: tuple[int, int, int, int, int, int],
    condition_size: int,
    *,
    router: Callable[..., AbstractRouter],
    gate: AbstractGate,
    film: bool,
    dtype: DTypeLike,
    precision: str,
) -> QernelBlock:
    """One block of the network; `sizes` in the order of [`qernel`][qernel.ansatz.qernel]'s arguments."""
    width, query_heads, key_value_heads, head_size, experts, expert_width = sizes

    def modulation() -> FiLM | None:
        # The key is drawn either way, so that all other layers start alike with and without FiLM.
        layer = FiLM(condition_size, width, key=next(keys), dtype=dtype)
        return layer if film else None

    return QernelBlock(
        RMSNorm(width, dtype=dtype),
        modulation(),
        GroupedQueryAttention(
            width, query_heads, key_value_heads, head_size, key=next(keys), dtype=dtype, precision=precision
        ),
        RMSNorm(width, dtype=dtype),
        modulation(),
        MixtureOfExperts(
            width,
            expert_width,
            experts,
            router=router(features=width, condition_size=condition_size, experts=experts, key=next(keys), dtype=dtype),
            gate=gate,
            key=next(keys),
            dtype=dtype,
            precision=precision,
        ),
    )
