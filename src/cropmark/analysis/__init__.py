"""Content analysis: faces and saliency maps of an image given as an array."""
