"""Dataset versions: publish, pull, check, compare, split, import, look at."""

from typing import TYPE_CHECKING

from mlipq.lazy import loader

if TYPE_CHECKING:
    from mlipq.hub.catalogue import Catalogue, CatalogueEntry, load_catalogue
    from mlipq.hub.diff import Difference, compare
    from mlipq.hub.importers import import_dataset
    from mlipq.hub.inspect import Inspection, inspect_dataset
    from mlipq.hub.publishing.publish import Published, publish
    from mlipq.hub.pulling.open import Listed, data_list, locate, open_dataset
    from mlipq.hub.pulling.pull import Pulled, pull
    from mlipq.hub.refs import DatasetRef, Version
    from mlipq.hub.split import add_split, split_dataset

__all__ = [
    "Catalogue",
    "CatalogueEntry",
    "DatasetRef",
    "Difference",
    "Inspection",
    "Listed",
    "Published",
    "Pulled",
    "Version",
    "add_split",
    "compare",
    "data_list",
    "import_dataset",
    "inspect_dataset",
    "load_catalogue",
    "locate",
    "open_dataset",
    "publish",
    "pull",
    "split_dataset",
]

# To open a dataset needs none of what makes, imports or draws one.
__getattr__ = loader(
    __name__,
    {
        "catalogue": ("Catalogue", "CatalogueEntry", "load_catalogue"),
        "diff": ("Difference", "compare"),
        "importers": ("import_dataset",),
        "inspect": ("Inspection", "inspect_dataset"),
        "pulling.open": ("Listed", "data_list", "locate", "open_dataset"),
        "publishing.publish": ("Published", "publish"),
        "pulling.pull": ("Pulled", "pull"),
        "refs": ("DatasetRef", "Version"),
        "split": ("add_split", "split_dataset"),
    },
)
