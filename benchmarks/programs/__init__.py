"""Programs of many fields, their gradients by Undertow and JAX side by side: ``python -m benchmarks.programs -h``."""
