"""New molecules from those of a dataset: their graphs, mutations of these, and geometries."""
