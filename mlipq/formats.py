"""Formats of other projects: what datasets are made of, and written as. A new one is a module, and a line here.

This module loads nothing, so that the help of the command line can list them.
"""

IMPORTERS = ("ani1x", "asedb", "aselmdb", "gdb9", "rmd17", "spice", "tmqm")
"""Modules of :mod:`mlipq.hub.importers`, each with its ``IMPORTER``."""

EXPORTERS = ("extxyz", "fairchem", "h5", "mace", "parquet", "zarr")
"""Modules of :mod:`mlipq.store.exporters`, each with its ``EXPORTER``."""
