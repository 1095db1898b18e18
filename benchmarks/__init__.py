"""Measurements: `make bench`, or `python -m benchmarks NAME`. Not tests: they depend on the machine."""
