"""Published versions on this computer: pulled whole or in part, opened by name, or read where they are."""
