"""Template tags for Jinja and Django. Each needs its framework, which the site has installed."""
