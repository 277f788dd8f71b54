"""Models as files: weights, what they predict, and packages of both."""
