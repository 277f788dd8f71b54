"""Training potentials on mlipq datasets, with orbital charges as auxiliary targets."""
