"""PixLab's endpoints for cropping, resizing, face detection and stored results."""
