"""TODO."""

from ._checkpoint import CheckpointError as CheckpointError
from ._checkpoint import CheckpointWriter as CheckpointWriter
from ._checkpoint import checkpoint_steps as checkpoint_steps
from ._checkpoint import load_checkpoint as load_checkpoint
from ._checkpoint import set_damaged_aside as set_damaged_aside
from ._measurement import evaluate_in as evaluate_in
from ._measurement import evaluation_progress as evaluation_progress
from ._measurement import measure_at as measure_at
from ._measurement import phases_of as phases_of
from ._measurement import write as write
from ._provenance import provenance as provenance
from ._provenance import versions as versions
from ._run_directory import METRICS as METRICS
from ._run_directory import MetricsWriter as MetricsWriter
from ._run_directory import RunDirectory as RunDirectory
from ._run_directory import read_metrics as read_metrics
from ._run_directory import write_atomically as write_atomically
from ._training import in_recorded_phases as in_recorded_phases
from ._training import restore as restore
from ._training import start as start
from ._training import train_in as train_in
from ._training_record import TrainingRecord as TrainingRecord
from ._training_record import read_training as read_training
