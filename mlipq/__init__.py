"""Train interatomic potentials from fewer DFT labels."""
