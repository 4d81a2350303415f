"""Tables, plots and pages of any result.

Imports `training`, for writing files; no algorithm.
"""
