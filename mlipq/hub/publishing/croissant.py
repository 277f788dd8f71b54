"""``croissant.json``: the files of a version in Croissant JSON-LD, which search engines for datasets read."""

import json

from mlipq.hub.publishing.licence import is_listed
from mlipq.store import Manifest
from mlipq.store.manifest import FileEntry

CROISSANT = "croissant.json"

_ENCODINGS = {".zip": "application/zip", ".csv": "text/csv", ".md": "text/markdown", ".cff": "application/yaml"}
_TERMS = """
citeAs column data dataType equivalentProperty examples extract field fileObject fileProperty fileSet format includes
isLiveDataset jsonPath key md5 parentField path recordSet references regex repeated replace samplingRate separator source subField
transform
"""
_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    **{term: f"cr:{term}" for term in _TERMS.split()},
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
}
"""The context that the specification prescribes."""


def croissant(manifest: Manifest) -> str:
    """Return the Croissant description of a version: what it is, and each file with its size and hash.

    Arrays are not described as records: the format has no way to say how Zarr or HDF5 are read.

    Parameters
    ----------
    manifest
        Its documents are those that lie beside the description.
    """
    described = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": manifest.name,
        "version": manifest.version,
        "description": manifest.description,
        "license": f"https://spdx.org/licenses/{manifest.licence}" if is_listed(manifest.licence) else manifest.licence,
        "citeAs": manifest.citation,
        "creator": {"@type": "sc:Organization", "name": f"The authors of {manifest.name}"},
        "keywords": ["chemistry", "interatomic potentials", *manifest.elements],
        "distribution": [_file(entry) for entry in (*manifest.shards, *manifest.splits.values(), *manifest.documents)],
    }
    return json.dumps(described, indent=1, ensure_ascii=False) + "\n"


def _file(entry: FileEntry) -> dict[str, str]:
    return {
        "@type": "cr:FileObject",
        "@id": entry.file,
        "name": entry.file,
        "contentUrl": entry.file,
        "contentSize": f"{entry.bytes} B",
        "encodingFormat": next(kind for suffix, kind in _ENCODINGS.items() if entry.file.endswith(suffix)),
        "sha256": entry.sha256,
    }
