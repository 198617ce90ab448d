"""Figures of curves, sweeps and evaluations from tables and labels, and the page of a report.

Knows no paths of runs.
"""

from nnrun.own_process import is_own_process

if is_own_process():
    import matplotlib.artist

    # While Matplotlib is imported it writes the properties of each kind of artist into docstrings: a quarter
    # of the time, for texts that nobody reads in a command.
    matplotlib.artist.kwdoc = lambda artist: ""
