"""Where the exact six-electron levels cross: `python benchmarks/level_crossing.py [BANDS] [DEPTH ...]`.

Exact diagonalisation of six spin-polarised electrons on 3x3 moiré cells in the lowest Bloch bands (3: 33 000 states a
momentum sector, two minutes; 4: 216 000, six minutes for five depths). Prints, for the sectors X, K and Γ, the lowest
energy (meV per electron, an upper bound), its interaction energy and S(K), and the second level.
"""

import itertools
import sys
import time

import numpy as np
import scipy.fft
import scipy.sparse.linalg as sla

from qernel.hamiltonian import moire_hamiltonian, moire_parameters
from qernel.lattice import supercell, triangular
from qernel.reference._bloch import _spectrum, momentum_classes
from qernel.reference._problem import mean_field, plane_waves
from qernel.units import Material

BANDS = int(sys.argv[1]) if len(sys.argv) > 1 else 3
DEPTHS = [float(x) for x in sys.argv[2:]] or [0, 5, 8, 10, 11, 12, 13, 14, 15, 16, 17, 18, 20, 30]
N, L = 6, 3
material = Material()
primitive = triangular(material.lattice_constant)
cell = supercell(primitive, L)
h = moire_hamiltonian(material, cell, (N, 0))
waves = plane_waves(h, 3.2 * np.linalg.norm(primitive.reciprocal[0]))
deep = mean_field(h, moire_parameters(material, 30.0), waves)
labels = momentum_classes(waves, primitive, deep.one_body_potential)
A = cell.lattice.matrix
meV = material.hartree_meV


def orbitals(depth):
    f = mean_field(h, moire_parameters(material, depth), waves)
    energies, momenta, column = _spectrum(f, labels, BANDS, False)
    n = np.round(momenta @ A.T / (2 * np.pi)).astype(int) % L
    order = np.lexsort((energies, n[:, 1], n[:, 0]))
    return f, energies[order], np.array([column(i) for i in order]).T, n[order]


def integrals(f, c):
    """<ab|v|cd> as [a, c, b, d] for the Coulomb kernel and for 2 cos(K.r)."""
    grid = f.grid
    phi = grid.to_grid(c)
    m = len(phi)
    rho = scipy.fft.fftn(phi.conj()[:, None] * phi[None], axes=(2, 3)).reshape(m * m, -1) / grid.size
    kernel = f.strength * grid._full_kernel.ravel()
    # <a|e^{-iq r}|c> = rho[ac, q]; <b|e^{iq r}|d> = conj(rho[db, q])
    other = rho.reshape(m, m, -1).transpose(1, 0, 2).reshape(m * m, -1).conj()
    v = ((rho * kernel) @ other.T).reshape(m, m, m, m)
    w = np.zeros(grid.shape)
    w[1, 2] = w[-1, -2] = 1.0
    return v, ((rho * w.ravel()) @ other.T).reshape(m, m, m, m)


_, _, _, n_k = orbitals(10.0)
M = len(n_k)
code = n_k[:, 0] * L + n_k[:, 1]
bits = np.uint64(1) << np.arange(M, dtype=np.uint64)


def choose(k):
    table = np.array(list(itertools.combinations(range(M), k)), dtype=np.int8)
    total = n_k[table].sum(axis=1) % L
    masks = bits[table].sum(axis=1)
    return masks, total[:, 0] * L + total[:, 1]


pairs = np.array(list(itertools.combinations(range(M), 2)))
pair_masks = bits[pairs].sum(axis=1)
pt = n_k[pairs].sum(axis=1) % L
pair_code = pt[:, 0] * L + pt[:, 1]
full_masks, full_code = choose(N)
rest_masks, rest_code = choose(N - 2)


def below(masks, orbital):
    return np.bitwise_count(masks & (bits[orbital] - np.uint64(1)))


class Sector:
    def __init__(self, k):
        kc = k[0] * L + k[1]
        self.masks = np.sort(full_masks[full_code == kc])
        self.dim = len(self.masks)
        self.blocks = []
        positions = np.empty((self.dim, N * (N - 1) // 2), dtype=np.int64)
        signs_of = np.empty(positions.shape, dtype=np.int8)
        filled = np.zeros(self.dim, dtype=np.int64)
        offset = 0
        for q in itertools.product(range(L), repeat=2):
            qc = q[0] * L + q[1]
            p = np.flatnonzero(pair_code == qc)
            rc = ((k[0] - q[0]) % L) * L + (k[1] - q[1]) % L
            rest = rest_masks[rest_code == rc]
            for j, pair in enumerate(p):
                a, b = pairs[pair]
                ok = np.flatnonzero((rest & pair_masks[pair]) == 0)
                state = np.searchsorted(self.masks, rest[ok] | pair_masks[pair])
                # c†_a c†_b |rest>, a < b: parity of the electrons that each passes (a is created in rest + b).
                parity = (below(rest[ok], a) + below(rest[ok], b)) & 1
                positions[state, filled[state]] = offset + j * len(rest) + ok
                signs_of[state, filled[state]] = 1 - 2 * parity.astype(np.int8)
                filled[state] += 1
            self.blocks.append((p, len(rest), offset))
            offset += len(p) * len(rest)
        assert np.all(filled == N * (N - 1) // 2)
        self.size, self.positions, self.signs = offset, positions, signs_of.astype(np.float64)
        occupied = (self.masks[:, None] & bits[None]) != 0
        self.occupied = occupied

    def matrices(self, v):
        out = []
        for p, _, _ in self.blocks:
            a, b = pairs[p].T
            A_, B_ = a[:, None], b[:, None]
            C_, D_ = a[None], b[None]
            out.append(v[A_, C_, B_, D_] - v[A_, D_, B_, C_])
        return out

    def apply(self, matrices, psi):
        y = np.zeros(self.size, dtype=np.complex128)
        y[self.positions] = self.signs * psi[:, None]
        for (p, rest, offset), m in zip(self.blocks, matrices, strict=True):
            s = slice(offset, offset + len(p) * rest)
            y[s] = (m @ y[s].reshape(len(p), rest)).ravel()
        return np.sum(self.signs * y[self.positions], axis=1)


def main():
    start = time.time()
    sectors = {"X(0,1)": Sector((0, 1)), "K(1,2)": Sector((1, 2)), "Gamma": Sector((0, 0))}
    sizes = [sector.dim for sector in sectors.values()]
    print(f"# {BANDS} bands, {M} orbitals, dimensions {sizes}, built in {time.time() - start:.1f} s")
    print("# meV per electron; interaction includes Madelung; S_K = S at (1,2)/3")
    print("depth " + " ".join(f"{s:>10s} int_{s:6s} S_K_{s:6s} second_{s:6s}" for s in sectors), flush=True)
    guess = {s: None for s in sectors}
    for depth in DEPTHS:
        t = time.time()
        f, energies, c, n = orbitals(depth)
        assert np.all(n == n_k)
        v, w = integrals(f, c)
        row = []
        for name, s in sectors.items():
            mv, mw = s.matrices(v), s.matrices(w)
            diagonal = s.occupied @ energies
            op = sla.LinearOperator(
                (s.dim, s.dim), matvec=lambda x, s=s, mv=mv, d=diagonal: d * x + s.apply(mv, x), dtype=complex
            )
            values, vectors = sla.eigsh(op, k=2, which="SA", tol=1e-7, v0=guess[name], ncv=20)
            i = values.argsort()
            psi = vectors[:, i[0]]
            guess[name] = vectors.sum(axis=1)
            madelung = N * f.self_image
            pair = np.vdot(psi, s.apply(mv, psi)).real
            sk = 1 + np.vdot(psi, s.apply(mw, psi)).real / N
            row += [
                f"{(values[i[0]] + madelung) * meV / N:10.5f}",
                f"{(pair + madelung) * meV / N:10.4f}",
                f"{sk:10.4f}",
                f"{(values[i[1]] + madelung) * meV / N:13.5f}",
            ]
        print(f"{depth:5.2f} " + " ".join(row) + f"   # {time.time() - t:.1f} s", flush=True)
    print(f"# total {time.time() - start:.0f} s")


main()
