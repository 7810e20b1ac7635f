"""Where renditions are kept: adapters of the Cache port."""
