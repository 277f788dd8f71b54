"""Datasets of other projects' formats; :mod:`mlipq.formats` lists them."""

from mlipq.hub.importers.importer import Image, Importer, importer_of
from mlipq.hub.importers.importing import import_dataset

__all__ = ["Image", "Importer", "import_dataset", "importer_of"]
