"""Where pictures come from: adapters of the Source port, which never import each other."""
