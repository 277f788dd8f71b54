# Sourced by the recipes: refuse a source file that is not the one the dataset was built from.
is_source() { # FILE SHA256
    found=$(sha256sum "$1" | cut -d' ' -f1)
    [ "$found" = "$2" ] && return
    echo "$1: expected sha256 $2, found $found; take the version that the recipe names" >&2
    exit 2
}
