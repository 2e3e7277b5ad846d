"""The incremental circuit: changes in, changes out, one version at a time."""
