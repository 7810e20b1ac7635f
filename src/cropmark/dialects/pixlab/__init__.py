"""PixLab's crop and its neighbours: fields of a query or a body become Orders, outcomes become its JSON."""
