"""Fair comparisons of ways to train: suites of runs as data, their results, and the report made of them."""
