"""What the methods of a run are from."""

from dataclasses import dataclass

from ._method import kernel
from ._record import Record


@dataclass(frozen=True)
class Citation:
    """A source: its key in the text, its words and its arXiv number, if it has one."""

    key: str
    text: str
    arxiv: str = ""


_ALL = (
    Citation("qernel", "QERNEL: one neural wavefunction for a family of Hamiltonians", "2604.26018"),
    Citation(
        "psiformer",
        "I. von Glehn, J. S. Spencer, D. Pfau, A self-attention ansatz for ab-initio quantum chemistry",
        "2211.13672",
    ),
    Citation("gqa", "J. Ainslie et al., GQA: training generalized multi-query transformer models", "2305.13245"),
    Citation("film", "E. Perez et al., FiLM: visual reasoning with a general conditioning layer", "1709.07871"),
    Citation("forward", "R. Li et al., Forward Laplacian", "2307.08214"),
    Citation("minsr", "A. Chen, M. Heyl, Efficient optimization of deep neural quantum states", "2302.01941"),
    Citation("spring", "G. Goldshlager, N. Abrahamsen, L. Lin, A Kaczmarz-inspired approach (SPRING)", "2401.10190"),
    Citation("kfac", "J. Martens, R. Grosse, Kronecker-factored approximate curvature", "1503.05671"),
    Citation("ekfac", "T. George et al., Natural gradient in a Kronecker-factored eigenbasis", "1806.03884"),
    Citation("metropolis", "N. Metropolis et al., J. Chem. Phys. 21, 1087 (1953)"),
    Citation("umrigar", "C. J. Umrigar, M. P. Nightingale, K. J. Runge, J. Chem. Phys. 99, 2865 (1993)"),
    Citation("geyer", "C. J. Geyer, Practical Markov chain Monte Carlo, Statist. Sci. 7, 473 (1992)"),
    Citation("wolff", "U. Wolff, Monte Carlo errors with less errors", "hep-lat/0306017"),
    Citation(
        "nodes",
        "S. Pathak, L. K. Wagner, A light weight regularization for gradients in quantum Monte Carlo",
        "2002.01434",
    ),
    Citation(
        "rhat", "A. Vehtari et al., Rank-normalization, folding, and localization: an improved R-hat", "1903.08008"
    ),
    Citation("vscore", "D. Wu et al., Variational benchmarks for quantum many-body problems", "2302.04919"),
)


def citations(record: Record) -> list[Citation]:
    """The sources that apply to a run, in order of their numbers on the page."""
    network = {"qernel", "psiformer", "film", "gqa"}
    optimisers = {"spring": {"minsr", "spring"}, "kfac": {"kfac", "ekfac"}, "adam": set()}
    # The words of the kernel name it: a run that a script made has nothing else.
    left_out = set() if "langevin" in kernel(record).lower() else {"umrigar"}
    if record.config is None:
        left_out |= network - {"qernel"} | {"forward"} | set().union(*optimisers.values())
    else:
        left_out |= set().union(*optimisers.values()) - optimisers[record.config.optimiser.name]
    return [citation for citation in _ALL if citation.key not in left_out]
