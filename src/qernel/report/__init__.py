"""One self-contained web page about a run, as supplementary material: system, method, checks, results, doubts."""

from ._write import write_report as write_report
