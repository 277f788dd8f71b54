"""Shards on disk: Zarr and HDF5, the manifest, the lazy reader of many shards, and exporters."""

from mlipq.store.columns import join_specs
from mlipq.store.commit import commit_bytes, commit_json, committing, sha256_file, sync_folder, unwritable
from mlipq.store.exporters import export
from mlipq.store.manifest import Manifest, ShardEntry
from mlipq.store.packing import atoms_at, pack, structure_at
from mlipq.store.reader.cache import CachedDataset, cached_datasets, remove_cached
from mlipq.store.reader.column import Column
from mlipq.store.reader.dataset import Dataset
from mlipq.store.reader.opening import open_dataset
from mlipq.store.reader.streaming import streamed_dataset
from mlipq.store.shards.files import open_shard, read_shard, shard_problems, write_shard
from mlipq.store.table import Table

__all__ = [
    "CachedDataset",
    "Column",
    "Dataset",
    "Manifest",
    "ShardEntry",
    "Table",
    "atoms_at",
    "cached_datasets",
    "commit_bytes",
    "commit_json",
    "committing",
    "export",
    "join_specs",
    "open_dataset",
    "open_shard",
    "pack",
    "read_shard",
    "remove_cached",
    "sha256_file",
    "shard_problems",
    "streamed_dataset",
    "structure_at",
    "sync_folder",
    "unwritable",
    "write_shard",
]
