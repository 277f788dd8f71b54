"""What models are used for: predictions, evaluations, an ASE calculator."""
