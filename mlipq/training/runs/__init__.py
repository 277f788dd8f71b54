"""Runs as folders: begun, recorded, gone on with."""
