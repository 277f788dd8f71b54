"""Datasets in other projects' formats; :mod:`mlipq.formats` lists them."""

from mlipq.store.exporters.exporter import Exporter, exporter_of
from mlipq.store.exporters.exporting import Exported, export

__all__ = ["Exported", "Exporter", "export", "exporter_of"]
