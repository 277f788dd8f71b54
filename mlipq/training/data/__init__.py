"""What a run reads: structures in batches, with neighbours and labels."""
