"""Folders that mlipq knows: the files that travel with it, and its cache.

Sample structures, job files and the catalogue stand beside the package in a checkout, and inside it in an installed wheel.
"""

import os
from pathlib import Path

import platformdirs

CACHE_SETTING = "MLIPQ_CACHE"
"""Environment variable that names another cache folder."""
DATA_HOME_SETTING = "MLIPQ_DATA_HOME"
"""Environment variable that names another folder for pulled datasets."""

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


def suites() -> Path:
    """Return the folder of benchmark suites as YAML."""
    return _ROOT / "benchmarks" / "training" / "suites"


def catalogue() -> Path:
    """Return the catalogue of published datasets."""
    return _ROOT / "datasets" / "catalogue.json"


def cache() -> Path:
    """Return the folder for what can be made again: the user's cache folder, or the one that ``MLIPQ_CACHE`` names."""
    setting = os.environ.get(CACHE_SETTING)
    return Path(setting).absolute() if setting else platformdirs.user_cache_path("mlipq")


def data_home() -> Path:
    """Return the folder of pulled datasets: ``pulled`` in the cache folder, or the one that ``MLIPQ_DATA_HOME`` names."""
    setting = os.environ.get(DATA_HOME_SETTING)
    return Path(setting).absolute() if setting else cache() / "pulled"
