"""Is a dataset what its manifest says? Read in a process that may be killed."""
