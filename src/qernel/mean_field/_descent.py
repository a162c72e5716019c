from typing import NamedTuple

import numpy as np
import scipy.optimize
from jaxtyping import Bool, Num

from ..orbitals import from_exponentials, to_exponentials
from ._functional import Functional
from ._symmetric_functional import SymmetricFunctional


def orthonormalise(x: Num[np.ndarray, "basis orbitals"]) -> Num[np.ndarray, "basis orbitals"]:
    """X (X†X)^{-1/2}: the nearest orthonormal set."""
    left, _, right = np.linalg.svd(x, full_matrices=False)
    return left @ right


class Descended(NamedTuple):
    """Where a descent ended: the orbitals, their energy terms and forces F C, and how it went."""

    orbitals: tuple[Num[np.ndarray, "basis _"], ...]
    energies: dict[str, float]
    forces: tuple[Num[np.ndarray, "basis _"], ...]
    converged: bool
    iterations: int


class _Variables(NamedTuple):
    """Matrices of coefficients as one vector of real numbers, without the waves that an orbital may not contain."""

    masks: tuple[Bool[np.ndarray, "basis _"], ...]
    complex_orbitals: bool

    def vector(self, matrices: list[np.ndarray]) -> np.ndarray:
        if self.complex_orbitals:
            parts = [to_exponentials(m)[mask] for m, mask in zip(matrices, self.masks, strict=True)]
            return np.concatenate(parts).view(np.float64)
        return np.concatenate([m.ravel() for m in matrices])

    def matrices(self, x: np.ndarray) -> list[np.ndarray]:
        values, out, offset = x.view(np.complex128) if self.complex_orbitals else x, [], 0
        for mask in self.masks:
            count = int(mask.sum())
            full = np.zeros(mask.shape, dtype=values.dtype)
            full[mask] = values[offset : offset + count]
            out.append(from_exponentials(full) if self.complex_orbitals else full)
            offset += count
        return out


def descend(
    functional: Functional | SymmetricFunctional,
    start: tuple[Num[np.ndarray, "basis _"], ...],
    *,
    allowed: tuple[Bool[np.ndarray, "basis _"], ...] | None = None,
    tolerance: float,
    max_iterations: int,
) -> Descended:
    """Minimise the energy over orthonormal orbitals from `start`, which is orthonormal.

    L-BFGS on free matrices X, the orbitals being X (X†X)^{-1/2}, in variables scaled by the inverse root of
    the kinetic energy. The energy never rises, so the search stays in the basin it started in, which a
    self-consistent iteration does not promise: continuation along a metastable branch needs that. Only the
    occupied orbitals are ever touched, no Fock matrix is formed.

    `allowed` marks, for complex orbitals, which e^{iG·r} (ordered 0, G₁, -G₁, ...) each orbital may
    contain: its momentum. `tolerance` bounds the largest component of (1 - P) F C, in Ha*.
    """
    kinetic = functional.kinetic
    electrons = sum(c.shape[1] for c in start)
    mean_kinetic = sum(float(np.sum(kinetic * np.abs(c) ** 2)) for c in start) / electrons
    spread = sum((float(np.ptp(v)) for v in functional.potentials.values()), 0.0)
    floor = mean_kinetic + 0.05 * spread + 0.1 * abs(functional.self_image) + 1e-12
    scale = 1 / np.sqrt(kinetic + floor)

    begin = functional.independent(start)
    masks = tuple(np.ones(c.shape, dtype=bool) for c in begin) if allowed is None else allowed
    variables = _Variables(masks, any(np.iscomplexobj(c) for c in start))

    def evaluate(x: np.ndarray):
        orbitals, back = [], []
        for free in functional.whole(tuple(scale * y for y in variables.matrices(x))):
            # (X†X)^{-1/2}: X stays near orthonormal, so that squaring it loses nothing.
            values, vectors = np.linalg.eigh(free.conj().T @ free)
            back.append((vectors / np.sqrt(np.maximum(values, 1e-300))) @ vectors.conj().T)
            orbitals.append(free @ back[-1])
        energies, forces = functional(tuple(orbitals))
        slopes = tuple(f - c @ (c.conj().T @ f) for f, c in zip(forces, orbitals, strict=True))
        residual = max(float(np.abs(slope).max(initial=0.0)) for slope in slopes)
        latest[:] = [x.copy(), tuple(orbitals), energies, forces, residual]
        gradient = variables.vector([2 * scale * g for g in functional.pulled_back(slopes, tuple(back))])
        return sum(energies.values()), gradient

    latest: list = []
    iterations = 0
    # Restarts re-orthonormalise the free matrices and refresh the memory of the quasi-Newton method.
    for _ in range(5):
        result = scipy.optimize.minimize(
            evaluate,
            variables.vector([c / scale for c in begin]),
            jac=True,
            method="L-BFGS-B",
            options={
                "maxiter": max(max_iterations - iterations, 1),
                "maxfun": 2 * max_iterations,
                "maxcor": 20,
                "ftol": 0.0,
                "gtol": 2 * tolerance * scale.min() * functional.copies,
            },
        )
        iterations += int(result.nit)
        if not np.array_equal(latest[0], result.x):
            evaluate(result.x)
        _, orbitals, energies, forces, residual = latest
        if residual <= tolerance or iterations >= max_iterations:
            break
        begin = functional.independent(orbitals)
    return Descended(orbitals, energies, functional.whole(forces), residual <= tolerance, iterations)
