"""What a run may change of a model, and what it changed: parameters, adapters, fingerprints."""
