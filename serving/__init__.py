"""The scoring service over the registered models."""

from models.instructions import settle

settle()
