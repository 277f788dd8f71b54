"""Steps, validations and checkpoints."""
