"""`make up` and `make down`: the MLflow server and the scoring service in the background."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from models.environment import port
from models.registry import Registry
from models.tracking import absolute_uri, default_tracking_uri, without_password
from pipelines import servers
from pipelines.command import run_command
from pipelines.params import listed
from pipelines.register import CACHE, register_missing

ARTIFACTS = Path("artifacts")
MODELS_PAGE = "/#/models?workflowType=machine_learning"     # else MLflow's menu is that of language models, which names no models


def start() -> None:
    """Register the bundles that the registry lacks, then start both servers and print their addresses; no MLflow where MLFLOW_TRACKING_URI
    names one that runs. Raises DosewellError.
    """
    mlflow_port, service_port = port(os.environ, "MLFLOW_PORT", 5000), port(os.environ, "SERVICE_PORT", 3000)
    uri = absolute_uri(default_tracking_uri())
    if (ARTIFACTS / "models").is_dir():
        added = register_missing(ARTIFACTS / "models", evaluations=ARTIFACTS / "evaluate", trunks=ARTIFACTS / "trunks",
                                 registry=Registry(uri, CACHE), names=listed("params.yaml", "models"))
        print(f"registered {len(added)} model(s) that the registry lacked" if added else "the registry has every trained model")
    registry = uri if uri.startswith("http") else _mlflow(uri, mlflow_port)
    service = servers.running("service") or servers.start(
        "service", servers.service_command(service_port), port=service_port, health="/readyz",
        environment={"MLFLOW_TRACKING_URI": registry})
    print(f"MLflow   {without_password(registry)}")
    print(f"models   {without_password(registry)}{MODELS_PAGE}   promote: move the alias `champion` of a model to another version")
    print(f"service  {service.url}   OpenAPI at /openapi.json, models at /models")
    print("`make down` ends both; their logs are in var/log")


def _mlflow(uri: str, listen: int) -> str:
    """Address of an MLflow server over the registry's database, which is started unless it runs."""
    running = servers.running("mlflow") or servers.start(
        "mlflow", servers.mlflow_command(listen, backend=""), port=listen, health="/health",
        environment={"MLFLOW_BACKEND_STORE_URI": uri})     # not a word of the command, whose passwords a list of processes would show
    return running.url


def stop() -> None:
    """End what `start` started."""
    for name in ("service", "mlflow"):
        print(f"{name}: {'stopped' if servers.stop(name) else 'was not running'}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=("start", "stop"), help="both servers at once")
    {"start": start, "stop": stop}[parser.parse_args().action]()


if __name__ == "__main__":
    run_command(main)
