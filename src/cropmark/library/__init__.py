"""The library: assets in a database, their bytes in a folder or a bucket."""
