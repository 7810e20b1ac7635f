"""PixLab's crop and its neighbors: fields of a query or a body become Orders, outcomes become its JSON."""
