"""The library of assets: metadata in a database, bytes in a folder or a bucket."""
