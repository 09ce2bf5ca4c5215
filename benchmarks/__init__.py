"""Accuracy and speed, measured side by side; one command each."""
