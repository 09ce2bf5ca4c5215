"""Plates: well names, layouts, images, quality, simulation, and readers of on-disk conventions."""
