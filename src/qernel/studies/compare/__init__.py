"""Several trainings of one system side by side: error against seconds and against samples."""

from ._compare import Comparison as Comparison
from ._compare import compare as compare
from ._curves import Curves as Curves
from ._curves import Reference as Reference
from ._curves import curves_of as curves_of
from ._figure import comparison_figure as comparison_figure
from ._training import AnyRun as AnyRun
from ._training import Training as Training
from ._training import read_run as read_run
