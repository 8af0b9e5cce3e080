"""Which cell becomes which: entropic couplings of neighbouring snapshots, whole or in parts, and exact transport.

Uses nothing of the other rooms.
"""
