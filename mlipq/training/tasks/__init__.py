"""What is learned: arrays of a dataset as tasks, and what is known of their values before anything is learned."""
