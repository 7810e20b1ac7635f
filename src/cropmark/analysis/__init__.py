"""Content analysis: finds faces and salient areas of an image, which is given as an array."""
