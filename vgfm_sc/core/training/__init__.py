"""From a time course to networks: couple, match on the paths of coupled pairs, fit by simulation, balance.

Uses transport and dynamics.
"""
