"""Mutation testing of the package, `make mutants ONLY=boxes`: cosmic-ray's operators and four of our own, tried in forked processes."""
