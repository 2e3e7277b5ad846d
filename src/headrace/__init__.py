"""Headrace: streams, tables and SQL views that are kept exactly right as the data arrives."""
