"""The laboratory: the programs, and what an experiment is made of."""
