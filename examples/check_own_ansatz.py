"""Does a wavefunction of one's own meet the contract? The checker names what fails."""

import jax
from compose_ansatz import two_phases

from qernel.check import check_ansatz
from qernel.systems.moire import Material, moire_family


# --8<-- [start:check]
def main(walkers=64, rounds=30):
    family = moire_family(Material(), 3, (6, 0), [0, 15, 30])
    report = check_ansatz(
        two_phases(family),
        family.hamiltonian,
        family.select(1),
        key=jax.random.key(0),
        walkers=walkers,
        rounds=rounds,
    )
    print(report)
    return report
    # --8<-- [end:check]


if __name__ == "__main__":
    main()
