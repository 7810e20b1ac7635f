"""Template tags for Jinja and Django. The site must have installed the framework."""
