"""The wavefunction, its training and its measurement in words and numbers."""

from typing import Any

from qernel.precision import precision
from qernel.presets import Config, build
from qernel.run_directory import Problem, trained_parameters

from ._record import Record

_ROUTERS = {
    "joint": "from the electron's features and λ",
    "electron": "from the electron's features",
    "condition": "from λ alone",
}
# Entries of a script's record, as facts of the page name them.
_OF_SCRIPT = {"ansatz": "Wavefunction", "optimiser": "Optimiser"}


def ingredients(config: Config) -> list[tuple[str, str]]:
    """What the wavefunction is made of."""
    a, problem = config.ansatz, build(config, solve=False)
    gates = {"top_k": f"top {a.top_k} of them (not smooth)", "spline": "a spline, three at a time"}
    gate = gates.get(a.gate, a.gate.replace("_", " "))
    film = "FiLM in every layer, and " if a.film else ""
    conditioning = f"{film}weights of the determinants, Jastrow factor and reference orbitals that depend on λ"
    if not a.conditioned:
        conditioning = "none: one wavefunction for the whole family"
    start = "equal weights at the start" if a.start == "both" else f"most of the weight on the {a.start} at the start"
    number = "complex" if a.complex else "real"
    phases = "one sum of all determinants"
    if a.phases == "separate":
        names = " and ".join(name.replace("_", " ") for name in problem.names)
        start = "shared evenly among the phases"
        phases = f"{names}, each a state of its own that conditions the network; the lowest is the ground state"
    policy = precision(config.training.precision)
    return [
        ("Trained parameters", f"{trained_parameters(problem.ansatz):,}".replace(",", "\u202f")),
        ("Blocks", f"{a.layers} of width {a.width}"),
        ("Attention", f"{a.query_heads} query heads on {a.key_value_heads} key-value heads of size {a.head_size}"),
        ("Experts", f"{a.experts} of width {a.expert_width}, weighted by {gate}, {_ROUTERS[a.router]}"),
        ("Conditioning on λ", conditioning),
        ("Phases", phases),
        ("Determinants", f"{a.determinants}, {number}, {start}"),
        ("Reference orbitals", "; ".join(problem.system.phase(name).about for name in a.references)),
        ("Jastrow factor", _jastrow(config, problem)),
        (
            "Precision",
            f"{config.training.precision}: {policy.network} wavefunction, {policy.determinants} determinants, "
            "float64 means and solve",
        ),
    ]


def _jastrow(config: Config, problem: Problem) -> str:
    hamiltonian = problem.system.family.hamiltonian
    parts = ["exact electron-electron cusp"] * (config.ansatz.cusp and hamiltonian.cusp is not None)
    if config.ansatz.pair_shells:
        of = f" of {config.ansatz.pair_shells} shells of reciprocal vectors" if hamiltonian.cell is not None else ""
        parts.append(f"smooth pair factor{of}")
    return ", ".join(parts) or "none"


def training_facts(record: Record) -> list[tuple[str, str]]:
    """How the wavefunction was trained."""
    config = record.config
    found = []
    steps = record.dataset.attrs.get("steps")
    if steps is not None:
        found.append(("Steps", f"{int(steps)}"))
    if config is None:
        return found + _of_script(record)
    o, s = config.optimiser, config.sampling
    phases = f" in each of {len(config.ansatz.references)} phases" if config.ansatz.phases == "separate" else ""
    found += [
        ("Walkers", f"{s.walkers} at each {_points(record)}{phases}, together in every step"),
        ("Moves per step", f"{s.moves} ({kernel(record)}), step size tuned to an acceptance of {s.acceptance:.0%}"),
        ("Burn-in before training", f"{s.burn_in} × {s.moves} moves"),
        ("Learning rate", f"{o.learning_rate:g}/(1 + t/{o.decay:g}) at step t"),
    ]
    if o.name == "adam":
        found.append(("Optimiser", f"Adam, β₁ = {o.momentum:g}"))
    else:
        solver = {"cholesky": "solved exactly", "conjugate_gradients": "solved by conjugate gradients"}[o.solver]
        method, mean = {
            "spring": (f"stochastic reconfiguration in sample space with momentum (SPRING), {solver}", "diagonal"),
            "kfac": ("natural gradient with a metric of Kronecker factors, corrected eigenvalues", "eigenvalue"),
        }[o.name]
        found += [
            ("Optimiser", method),
            ("Damping, momentum", f"{o.damping:g} of the mean {mean}, {o.momentum:g}"),
            ("Trust region", f"root-mean-square change of log ψ of at most {o.trust_region:g} a step"),
        ]
    found.append(("Clipping", f"local energies at {o.clip:g} mean deviations, in the gradient only"))
    return found


def _points(record: Record) -> str:
    points = record.trained_points
    if points is None:
        return "trained point"
    return f"of {len(points)} points" if len(points) > 1 else "point"


def _of_script(record: Record) -> list[tuple[str, str]]:
    """What a script recorded of its wavefunction and method: names of classes, numbers of walkers."""
    entries: dict[str, Any] = {}
    for section in record.settings.values():
        entries |= section if isinstance(section, dict) else {}
    found = [(words, str(entries[name])) for name, words in _OF_SCRIPT.items() if name in entries]
    if "walkers" in entries:
        found.append(("Walkers", f"{entries['walkers']} at each {_points(record)}"))
    return found


def kernel(record: Record) -> str:
    """How walkers were moved, in words."""
    return str(record.dataset.attrs.get("kernel") or "Metropolis sampling")


def measurement_facts(record: Record) -> list[tuple[str, str]]:
    """How the frozen wavefunction was measured."""
    attrs: dict[str, Any] = dict(record.dataset.attrs)
    found = [("Walkers", f"{int(attrs['walkers'])} at each point"), ("Rounds", f"{int(attrs['rounds'])} measured")]
    if "moves" in attrs:
        found.append(("Moves", f"{int(attrs['moves'])} between one round and the next"))
    if "burn_in" in attrs:
        found.append(("Rounds of burn-in", f"{int(attrs['burn_in'])}; the step size is frozen after them"))
    return found
