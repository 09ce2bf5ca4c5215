"""The MLflow server as `make up` starts it, and with accounts (`--app-name dosewell-accounts`) as docs/operations.md describes them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from models.errors import RegistryError
from models.registry import CHALLENGER, CHAMPION, Registry
from pipelines import register, servers, up
from tests.serving.tiny import MODEL, SCREEN, Server, tiny_bundle, tiny_plate, tiny_registry
from tests.waiting import PATIENCE

pytestmark = pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")  # it is ended by number
ADMIN, READER = ("admin", "a long admin password"), ("anna", "a long reader password")
MODELS = "/api/2.0/mlflow/registered-models"


def _accounts(folder: Path) -> dict[str, str]:
    """The environment of a server whose accounts lie in `folder`."""
    (folder / "auth.ini").write_text("[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///auth.db\nadmin_username = admin\n"
                                     "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n")
    return {"MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"), "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN[1],
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "x" * 32, "MLFLOW_DEPLOYMENTS_TARGET": "http://127.0.0.1:9"}


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A server with two accounts: one that may do everything, one that may read."""
    folder, port = tmp_path_factory.mktemp("accounts"), servers.free_port()
    accounts = _accounts(folder)
    command = [*servers.mlflow_command(port), "--app-name", "dosewell-accounts"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        server = servers.start("mlflow", command, port=port, health="/health", environment=accounts)
        with httpx.Client(base_url=server.url, timeout=PATIENCE, trust_env=False) as client:
            made = client.post("/api/2.0/mlflow/users/create", json=dict(zip(("username", "password"), READER, strict=True)), auth=ADMIN)
            assert made.status_code == 200
            yield client
        patch.chdir(folder)
        servers.stop("mlflow")


@pytest.mark.parametrize(("variable", "value", "rule"), [
    ("MLFLOW_AUTH_ADMIN_PASSWORD", "short", "12"), ("MLFLOW_AUTH_ADMIN_PASSWORD", "", "empty"), ("MLFLOW_FLASK_SERVER_SECRET_KEY", "", "")])
def test_a_server_whose_accounts_cannot_be_made_says_why_and_ends(tmp_path: Path, variable: str, value: str, rule: str) -> None:
    """MLflow started its workers again and again, with a traceback each time."""
    command = [*servers.mlflow_command(servers.free_port()), "--app-name", "dosewell-accounts", "--workers", "2"]
    done = subprocess.run(command, cwd=tmp_path, env={**os.environ, **servers.QUIET, **_accounts(tmp_path), variable: value}, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE, check=False)
    assert done.returncode == 1
    _, told, reason = done.stdout.partition("MLflow does not start: ")
    assert told
    assert variable in reason
    assert rule in reason
    assert "Traceback" not in done.stdout


def test_processes_that_start_at_once_make_the_accounts_once(tmp_path: Path) -> None:
    """MLflow's server has four; at the first start some of them died at tables that another one was making."""
    code = "import mlflow.server.auth, serving.mlflow_app as app\nprint('ready', flush=True)\ninput()\napp.with_accounts()"
    environment = {**os.environ, **servers.QUIET, **_accounts(tmp_path), "_MLFLOW_SGI_NAME": "uvicorn"}     # as `mlflow server` says it
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    started = [subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=environment, text=True, **pipes) for _ in range(3)]
    assert [process.stdout.readline() for process in started] == ["ready\n"] * 3
    for process in started:
        process.stdin.write("\n")
        process.stdin.flush()
    said = [process.communicate(timeout=120)[1] for process in started]
    assert [process.returncode for process in started] == [0] * 3, said


@pytest.fixture
def log_in(monkeypatch: pytest.MonkeyPatch) -> Callable[[tuple[str, str]], None]:
    """From here on this process is that account's, in MLflow's own way."""
    def become(account: tuple[str, str]) -> None:
        for name, value in _credentials(account).items():
            monkeypatch.setenv(name, value)
    return become


def _credentials(account: tuple[str, str]) -> dict[str, str]:
    return dict(zip(("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"), account, strict=True))


def test_it_knows_its_own_names_refuses_other_sites_and_readers_move_no_alias(mlflow: httpx.Client) -> None:
    ask = {"name": "viability-A549"}
    assert mlflow.post(f"{MODELS}/create", json=ask, auth=ADMIN).status_code == 200
    run = mlflow.post("/api/2.0/mlflow/runs/create", json={"experiment_id": "0"}, auth=ADMIN).json()["run"]["info"]
    assert run["artifact_uri"].startswith("mlflow-artifacts:")     # they go through the server
    version = {"name": "viability-A549", "source": f"{run['artifact_uri']}/bundle", "run_id": run["run_id"]}
    assert mlflow.post("/api/2.0/mlflow/model-versions/create", json=version, auth=ADMIN).status_code == 200

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


@pytest.fixture
def url(mlflow: httpx.Client, in_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> str:
    """The server's address, which the commands of the working folder use."""
    in_folder("work")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", str(mlflow.base_url))
    monkeypatch.setattr(sys, "argv", ["register"])
    return str(mlflow.base_url)


def test_pipeline_and_service_log_in_by_their_environment(url: str, log_in: Callable[[tuple[str, str]], None]) -> None:
    """The pipeline writes as one account, the service reads as another, and nobody else gets in."""
    tiny_bundle(Path("artifacts/models/m1"))
    Path("params.yaml").write_text("models: {m1: {}, m2: {}}\n")
    registry = Registry(url, Path("cache"))
    log_in((ADMIN[0], "not the password"))
    with pytest.raises(RegistryError, match="401") as refused:
        register.main()
    assert "not the password" not in str(refused.value)
    log_in(ADMIN)
    register.main()
    registry.set_alias(registry.resolve(f"{MODEL}/1"), CHAMPION)

    log_in(READER)
    assert registry.resolve(f"{MODEL}@{CHALLENGER}").version == 1
    with pytest.raises(RegistryError, match="403"):
        registry.set_alias(registry.resolve(f"{MODEL}/1"), CHALLENGER)
    tiny_bundle(Path("artifacts/models/m2"), seed=2)
    with pytest.raises(RegistryError, match="403"):
        register.main()
    assert set(registry.aliases()[MODEL].values()) == {1}

    with (Server(Path("state").absolute(), url, **_credentials(READER)) as server,
          httpx.Client(base_url=server.url, timeout=PATIENCE, trust_env=False) as http):
        assert _score(http, Path()) == 1
        said = "".join(http.get(path).text for path in ("/models", "/promotions", "/metrics"))
    assert "serving" in said
    assert not [secret for secret in (ADMIN[1], READER[1]) if secret in said + server.log.read_text()]


def _score(http: httpx.Client, folder: Path) -> int:
    """The version that scored a plate."""
    plate = tiny_plate(folder)
    answer = http.post("/score", data={"model": MODEL, "screen": json.dumps(SCREEN)}, files={
        "images": ("P1.zip", plate.archive.read_bytes()), "layout": ("layout.csv", plate.layout.read_bytes())})
    assert answer.status_code == 200, answer.text
    return int(answer.json()["lineage"]["version"])


def assert_no_assistant(http: httpx.Client, **asked: Any) -> None:
    """MLflow's assistant runs commands on its server's machine for whoever asks from there, with a language model of the asker's choice."""
    providers = {"ollama": {"model": "x", "base_url": "http://127.0.0.1:9", "selected": True, "permissions": {"full_access": True}}}
    for path in ("config", "//config"):
        assert http.put(f"/ajax-api/3.0/mlflow/assistant/{path}", json={"providers": providers}, **asked).status_code == 404
    assert http.post("/ajax-api/3.0/mlflow/assistant/message", json={"message": "x"}, **asked).status_code == 404


def test_with_accounts_there_is_no_assistant_either(mlflow: httpx.Client) -> None:
    assert_no_assistant(mlflow, auth=READER)


def test_nobody_chooses_where_the_server_writes_and_reads(mlflow: httpx.Client, tmp_path: Path) -> None:
    """Every account may make experiments and models; of a place that it named, the server would hand out and take files as its own user."""
    api = "/api/2.0/mlflow"
    for place in (str(tmp_path), tmp_path.as_uri(), "s3://patients/dvc", "mlflow-artifacts://elsewhere/1"):
        for key in ("artifact_location", "artifactLocation"):
            made = mlflow.post(f"{api}/experiments/create", json={"name": f"mine {place} {key}", key: place}, auth=READER)
            assert (made.status_code, "a place of your own choice" in made.text) == (400, True)
    assert mlflow.post(f"{MODELS}/create", json={"name": "mine"}, auth=READER).status_code == 200
    for place in (str(tmp_path), "s3://patients/dvc", "dbfs:/x"):
        made = mlflow.post(f"{api}/model-versions/create", json={"name": "mine", "source": place}, auth=READER)
        assert (made.status_code, "a place of your own choice" in made.text) == (400, True)
    assert mlflow.post(f"{api}/experiments/create", json={"name": "mine"}, auth=READER).status_code == 200


@pytest.mark.parametrize("path", ["/api/3.0/mlflow/gateway/secrets/create", "/ajax-api/3.0/mlflow//gateway/secrets/create",
                                  "/gateway/openai/v1/responses", "/api/3.0/mlflow/mcp-servers", "/ajax-api/3.0/mlflow/demo/generate"])
def test_what_dosewell_does_not_need_is_closed(mlflow: httpx.Client, path: str) -> None:
    """It would ask addresses that an account names, or fill the database."""
    assert mlflow.post(path, json={}, auth=ADMIN).status_code == 404


def test_what_every_page_of_the_ui_asks_is_no_error(mlflow: httpx.Client) -> None:
    """A red message lay over the buttons of each page; and the server asks no address for the answer, whatever its environment names."""
    asked = mlflow.get("/ajax-api/2.0/mlflow/gateway-proxy", params={"gateway_path": "api/2.0/endpoints/"}, auth=READER)
    assert (asked.status_code, asked.json()) == (200, {"endpoints": []})


def test_make_up_runs_no_jobs_for_others(in_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch,
                                         capsys: pytest.CaptureFixture[str]) -> None:
    """Both servers as `make up` starts them, even where the environment asks for jobs; MLflow itself says that it runs none."""
    folder = in_folder("work")
    tiny_registry(folder)
    tiny_bundle(folder / "artifacts" / "models" / "m1")
    (folder / "params.yaml").write_text("models: {m1: {}}\n")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "true")
    for name in ("MLFLOW_PORT", "SERVICE_PORT"):
        monkeypatch.setenv(name, str(servers.free_port()))
    try:
        up.start()
        mlflow, service = servers.running("mlflow"), servers.running("service")
        assert mlflow is not None
        assert service is not None
        with httpx.Client(base_url=mlflow.url, timeout=PATIENCE, trust_env=False) as http:
            for job in ("invoke_scorer", "invoke_genai_evaluate"):
                answer = http.post("/ajax-api/3.0/jobs/", json={"job_name": job, "params": {}})
                assert (answer.status_code, "job execution feature is not enabled" in answer.text) == (500, True)
            assert http.post("/ajax-api/3.0/jobs/search", json={}).json() == {"jobs": []}
            assert_no_assistant(http)
            assert http.get(f"{MODELS}/get", params={"name": MODEL}).json()["registered_model"]["aliases"] == [
                {"alias": CHALLENGER, "version": "1"}]
        commands = [" ".join(process.cmdline()) for process in psutil.Process(mlflow.pid).children(recursive=True)]
        assert not [command for command in commands if "huey" in command or "mlflow.server.jobs" in command]
        (model,) = httpx.get(f"{service.url}/models", trust_env=False, timeout=PATIENCE).json()["models"]
        assert (model["name"], model["aliases"]) == (MODEL, {CHALLENGER: 1})
        said = capsys.readouterr().out
        assert f"MLflow   {mlflow.url}\n" in said
        assert f"models   {mlflow.url}/#/models?workflowType=machine_learning " in said
    finally:
        up.stop()
    assert servers.running("mlflow") is servers.running("service") is None
