"""A run in a script, made by `qernel run trap-1d` or by another script: its wavefunction, other points, training on."""

# --8<-- [start:psi]
from qernel.runs import Run


def wavefunction(path="runs/trap-1d"):
    psi = Run.open(path).psi
    r = [[-1.2], [-0.4], [0.3], [1.1]]
    for kappa in (0.05, 0.15, 0.25):
        value = psi(r, kappa=kappa)
        print(kappa, value.log_magnitude, value.phase)
    return psi
    # --8<-- [end:psi]


# --8<-- [start:measure]
def elsewhere(path="runs/trap-1d", **options):
    run = Run.open(path)
    table = run.evaluate({"kappa": [0.08, 0.1, 0.12, 0.14]}, into=f"{path}-elsewhere")
    print(table["energy"].sel(kappa=0.12).item(), table["energy_error"].sel(kappa=0.12).item())
    finding = run.transition(**options)
    print(finding.kind, *finding.sentences, sep="\n")
    return table, finding
    # --8<-- [end:measure]


# --8<-- [start:continue]
def closer(path="runs/trap-1d", steps=50):
    run = Run.open(path).continue_at({"kappa": [0.08, 0.1, 0.12, 0.14]}, f"{path}-closer")
    for step in run.train(steps):
        print(step.number, step.energies, step.acceptance)
    run.evaluate()
    print(*run.verdict(), *run.figures(), run.report(), sep="\n")
    return run
    # --8<-- [end:continue]


if __name__ == "__main__":
    wavefunction()
    elsewhere()
    closer()
