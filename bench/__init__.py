"""Benchmarks: hecore beside its peers and beside the machine's own limit, in one run.

`python -m hecore.bench paillier` measures, `python -m hecore.bench report FILE` prints, plots and updates the README.
No time counts unless the results behind it were decrypted and compared in the same run, and no row may
claim more than the multiply-add peak measured in the same run.
"""
