"""What a suite's runs read: its pool with every draw as a split, its test structures apart, and its extra structures.

``FOLDER/dataset`` holds the pool alone, so what trains cannot read a test label, whatever it does; ``FOLDER/test`` holds the test
structures, and is opened once a run, at its end; ``FOLDER/extra-1`` … hold the structures with xTB labels alone that are not from the
pool. Each is an ordinary dataset.
"""

from mlipq.bench.prepared.dataset import Prepared, prepare_dataset
from mlipq.bench.prepared.describe import composition_distances, describe

__all__ = ["Prepared", "composition_distances", "describe", "prepare_dataset"]
