"""What is read from a model: distances, places on an embedding, fates, lineages, ranked genes.

Uses transport and dynamics.
"""
