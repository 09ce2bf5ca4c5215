"""The MLflow server as `make up` starts it, here with accounts (`--app-name basic-auth`) as docs/operations.md describes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from pipelines import servers

pytestmark = pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")  # it is ended by number
ADMIN, READER = ("admin", "a long admin password"), ("anna", "a long reader password")
MODELS = "/api/2.0/mlflow/registered-models"


@pytest.fixture
def mlflow(in_folder: Callable[[str], Path]) -> Iterator[httpx.Client]:
    folder, port = in_folder("work"), servers.free_port()
    (folder / "auth.ini").write_text("[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///auth.db\nadmin_username = admin\n"
                                     "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n")
    accounts = {"MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"), "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN[1],
                "MLFLOW_FLASK_SERVER_SECRET_KEY": "x" * 32}
    command = [*servers.mlflow_command(port), "--app-name", "basic-auth"]
    server = servers.start("mlflow", command, port=port, health="/health", environment=accounts)
    with httpx.Client(base_url=server.url, timeout=30, trust_env=False) as client:
        yield client
    servers.stop("mlflow")


def test_it_knows_its_own_names_refuses_other_sites_and_readers_move_no_alias(mlflow: httpx.Client) -> None:
    ask = {"name": "viability-A549"}
    assert mlflow.post(f"{MODELS}/create", json=ask, auth=ADMIN).status_code == 200
    run = mlflow.post("/api/2.0/mlflow/runs/create", json={"experiment_id": "0"}, auth=ADMIN).json()["run"]["info"]
    assert run["artifact_uri"].startswith("mlflow-artifacts:")     # they go through the server
    version = {"name": "viability-A549", "source": f"{run['artifact_uri']}/bundle", "run_id": run["run_id"]}
    assert mlflow.post("/api/2.0/mlflow/model-versions/create", json=version, auth=ADMIN).status_code == 200
    made = mlflow.post("/api/2.0/mlflow/users/create", json=dict(zip(("username", "password"), READER, strict=True)), auth=ADMIN)
    assert made.status_code == 200

    # a name that a foreign page was resolved to (DNS rebinding), MLflow's own default names among them
    for name in ("evil.example", "192.168.0.7:5000", "10.1.2.3"):
        assert mlflow.get(f"{MODELS}/get", params=ask, auth=ADMIN, headers={"Host": name}).status_code == 403
    assert mlflow.get(f"{MODELS}/get", params=ask, auth=ADMIN, headers={"Host": f"localhost:{mlflow.base_url.port}"}).status_code == 200

    move = {"name": "viability-A549", "alias": "champion", "version": "1"}
    assert mlflow.post(f"{MODELS}/alias", json=move, auth=ADMIN, headers={"Origin": "http://evil.example"}).status_code == 403

    assert mlflow.get(f"{MODELS}/get", params=ask).status_code == 401
    assert mlflow.post(f"{MODELS}/alias", json=move).status_code == 401
    assert mlflow.get(f"{MODELS}/get", params=ask, auth=(READER[0], "not the password")).status_code == 401
    assert mlflow.get(f"{MODELS}/get", params=ask, auth=READER).status_code == 200
    assert mlflow.post(f"{MODELS}/alias", json=move, auth=READER).status_code == 403
    assert "champion" not in mlflow.get(f"{MODELS}/get", params=ask, auth=READER).text

    assert mlflow.post(f"{MODELS}/alias", json=move, auth=ADMIN).status_code == 200
    assert "champion" in mlflow.get(f"{MODELS}/get", params=ask, auth=READER).text


def test_no_jobs_are_run_by_it() -> None:
    assert servers.QUIET["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
