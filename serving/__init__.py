"""The scoring service over the registered models."""
