"""The model registry: bundles as MLflow registered model versions, found by name and alias, fetched and verified by hash.

An MLflow entry holds a bundle (card.json and safetensors, no pickle, no code). It loads as a pyfunc through this package
(`loader_module`), so `mlflow.pyfunc.load_model("models:/viability-A549@champion")` works wherever Dosewell is installed.
A frozen trunk is registered once as `trunk-<sha12>` and shared by all models that stand on it.
"""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")   # MLflow reads it when imported
os.environ.setdefault("MLFLOW_UV_AUTO_DETECT", "false")     # else the working folder's uv.lock goes into every entry
os.environ.setdefault("MLFLOW_LOG_UV_FILES", "false")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")   # else it takes four minutes to say that a server is away
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
os.environ.setdefault("PGCONNECT_TIMEOUT", "10")                # of a database whose machine is away: else as long as TCP tries

import mlflow

from models.registered import CHALLENGER, CHAMPION, ImagePredictor
from models.registry.entries import Registry
from models.registry.recording import EXPERIMENT

__all__ = ["CHALLENGER", "CHAMPION", "EXPERIMENT", "Registry"]

logging.getLogger("mlflow.utils.environment").setLevel(logging.ERROR)  # warns that a uv environment has no pip
logging.getLogger("mlflow.store.model_registry.abstract_store").setLevel(logging.WARNING)   # tells of each version that a server makes


def _load_pyfunc(path: str) -> ImagePredictor:
    """MLflow's loader hook. A frozen trunk comes from the registry that `mlflow.set_tracking_uri` names."""
    from models.networks.predict import load_predictor

    with tempfile.TemporaryDirectory(prefix="dosewell-") as cache:
        registry = Registry(mlflow.get_tracking_uri(), Path(cache))
        return ImagePredictor(load_predictor(Path(path), find_trunk=registry.find_trunk))
