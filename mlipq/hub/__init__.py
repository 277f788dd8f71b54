"""Dataset versions: publish, pull, check, compare, split, import, look at."""
