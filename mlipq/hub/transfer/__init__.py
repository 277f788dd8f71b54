"""Bytes from anywhere: opened where they are, moved, resumed, and hashed before they count."""
