"""What was learnt: networks of velocity and growth, the model in the user's units, and cells that follow it.

Uses nothing of the other rooms.
"""
