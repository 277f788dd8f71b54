"""Here, so that the tests in the folders below find the modules beside it."""
