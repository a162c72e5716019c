"""Training: state, compiled step, loop, mesh, checkpoints, the folder of a run."""

from ._chunks import with_largest_chunks as with_largest_chunks
from ._energy_unit import energy_unit as energy_unit
from ._loop import TrainingFault as TrainingFault
from ._loop import burn_in as burn_in
from ._loop import compile_step as compile_step
from ._loop import diagnose as diagnose
from ._loop import step_failed as step_failed
from ._loop import trace_moves as trace_moves
from ._loop import train as train
from ._mesh import largest_mesh as largest_mesh
from ._mesh import make_mesh as make_mesh
from ._mesh import replicate as replicate
from ._mesh import shard_family as shard_family
from ._mesh import shard_state as shard_state
from ._mesh import shard_walkers as shard_walkers
from ._phases import retire_phases as retire_phases
from ._record import TrainingRecord as TrainingRecord
from ._state import Method as Method
from ._state import StepReport as StepReport
from ._state import TrainingState as TrainingState
from ._state import initial_state as initial_state
from ._step import move_walkers as move_walkers
from ._step import train_step as train_step
from ._transfer import Transfer as Transfer
from ._transfer import transferred as transferred
