"""Files that travel with mlipq: real sample structures, working job files, the catalogue of datasets.

In a checkout they stand beside the package, in an installed wheel inside it.
"""

from pathlib import Path

_PACKAGED = Path(__file__).parent / "data"
_ROOT = _PACKAGED if _PACKAGED.is_dir() else Path(__file__).parent.parent


def samples() -> Path:
    """Return the folder of about 500 real structures, with their sources and licences in its README.

    Examples
    --------
    >>> (samples() / "qm7.extxyz.gz").is_file()
    True
    """
    return _ROOT / "datasets" / "samples"


def pipelines() -> Path:
    """Return the folder of labeling jobs as YAML."""
    return _ROOT / "pipelines"


def catalogue() -> Path:
    """Return the catalogue of published datasets."""
    return _ROOT / "datasets" / "catalogue.json"
