"""Versions made and published: shards, card and citation, brought to a folder, an object store or the Hugging Face hub."""
