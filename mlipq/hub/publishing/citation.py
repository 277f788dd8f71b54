"""``CITATION.cff``: how a dataset version wants to be cited, for programs that read the Citation File Format."""

import yaml

from mlipq.hub.publishing.licence import is_listed
from mlipq.store import Manifest

CITATION = "CITATION.cff"


def citation_file(manifest: Manifest) -> str:
    """Return the citation file of a version.

    What users shall cite is free text, which the format keeps in its ``message``.
    """
    fields = {
        "cff-version": "1.2.0",
        "message": f"If you use this dataset, please cite: {one_line(manifest.citation)}",
        "type": "dataset",
        "title": manifest.name,
        "version": manifest.version,
        "authors": [{"name": f"The authors of {manifest.name}"}],
        "abstract": one_line(manifest.description),
        "license": manifest.licence if is_listed(manifest.licence) else "",  # the format takes no other
    }
    stated = {key: value for key, value in fields.items() if value}
    return yaml.safe_dump(stated, sort_keys=False, allow_unicode=True, width=2**31)


def one_line(text: str) -> str:
    """Return a text with its line breaks as spaces."""
    return " ".join(text.split())
