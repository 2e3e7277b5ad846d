"""Complete systems, built on the public names of Headrace only; each folder is a project to run."""
