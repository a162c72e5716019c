"""TODO."""

from ._evaluate import evaluate as evaluate
from ._evaluation import Evaluation as Evaluation
from ._results import results as results
from ._results import v_score as v_score
from ._sample_results import add_momentum_distribution as add_momentum_distribution
from ._separate_phases import add_phases as add_phases
from ._separate_phases import competitors as competitors
from ._separate_phases import lowest_phases as lowest_phases
from ._separate_phases import phase_crossing as phase_crossing
from ._separate_phases import separate_phases as separate_phases
from ._table import columns as columns
from ._table import format_table as format_table
from ._table import read_netcdf as read_netcdf
from ._table import with_error as with_error
from ._table import write_csv as write_csv
from ._table import write_netcdf as write_netcdf
