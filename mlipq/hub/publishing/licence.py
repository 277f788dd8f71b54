"""Licences by their SPDX identifiers."""

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression


def is_spdx(licence: str) -> bool:
    """True for a licence of the SPDX list, or several with AND, OR and WITH, spelled as the list does."""
    try:
        return canonicalize_license_expression(licence) == licence
    except InvalidLicenseExpression:
        return False


def is_listed(licence: str) -> bool:
    """True for a single licence of the SPDX list: no expression, and none of a name of its own (``LicenseRef-…``)."""
    return " " not in licence and not licence.startswith("LicenseRef-")
