"""What trained models know of metals: features of metal atoms, sorted by machine, against the periodic table."""
