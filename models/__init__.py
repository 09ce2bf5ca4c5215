"""The domain of Dosewell: plates, networks, dose-response curves, scoring, and the model registry."""
