"""Looking at runs: what a folder of runs holds, as it is now, also while another machine writes it.

Enters: a folder of run folders. Leaves: rows, curves, samples, findings, lineage as JSON for the pages. Nothing in
a run folder is ever written, and what is broken in one is told in its row.
"""
