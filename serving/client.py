"""A client in Python: plates in, tables out.

    with Client("http://127.0.0.1:3000") as client:
        scores = client.score(read_plates(Path("plates/")), layout=Path("layout.csv"), model="viability-A549", screen=text)
    scores.curves[["treatment", "ic50_relation", "ic50", "dss3"]]

Plates go in as jobs. A job is recognised when the same is sent again, so whatever is lost on the way is sent anew, and nothing is
scored twice.
"""

from __future__ import annotations

import json
import re
import ssl
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx

from models.errors import DosewellError, Finding, InputError
from models.plates.layout import UNNAMED, parse_layout
from models.plates.readers.platemaps import read_layout_table
from models.plates.screen import Screen
from models.suitability import same_sample
from models.whole_file import write_whole
from serving.client_files import Package, Reported, pack, read_images, read_plates, sent_names
from serving.client_tables import Classes, Scores
from serving.progress import OnProgress, quietly
from serving.readouts import controls_of, smallest_format
from serving.uploads import read_screen

__all__ = ["Classes", "Client", "RejectedError", "Scores", "ServiceError", "read_images", "read_plates"]

_PASSING = (408, 502, 503, 504)     # a network that was silent for a while, a service that starts again, a registry that is away
_FIRST, _LONGEST = 0.2, 3.0     # seconds between two looks at a job


class ServiceError(DosewellError):
    """The service cannot be reached or failed. status: HTTP status, 0 when there was no answer."""

    def __init__(self, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class RejectedError(InputError):
    """The service refused the upload; `findings` say why. status: HTTP status."""

    def __init__(self, message: str, findings: Sequence[Finding], *, status: int) -> None:
        super().__init__(message, findings)
        self.status = status


class Client:
    """Talks to one service.

    token: access token, where the service asks for one; timeout: seconds to wait for one answer; patience: seconds for which a lost
    connection is tried again; on_progress: told what is being done and how far it is.
    """

    def __init__(self, url: str, *, token: str = "", timeout: float = 3600.0, patience: float = 120.0,
                 on_progress: OnProgress = quietly) -> None:
        if not url.startswith(("http://", "https://")):
            raise InputError(f"'{url}' is no address of a service; expected e.g. http://127.0.0.1:3000")
        self._http = httpx.Client(base_url=url, timeout=httpx.Timeout(timeout, connect=10.0), trust_env=False, verify=_authorities(),
                                  headers={"authorization": f"Bearer {token.strip()}"} if token else {})
        self._patience, self._progress = patience, on_progress

    # -- plates --------------------------------------------------------------------------------------------------------

    def score(self, plates: Sequence[Path], *, layout: Path, model: str, screen: str | Mapping[str, Any],
              options: Mapping[str, Any] | None = None, adapt: bool = False) -> Scores:
        """Score plates (of `read_plates`) and wait for the result. Raises RejectedError for what is refused, ServiceError otherwise.

        screen: text of screen.yaml, or its fields; adapt: `model` is a phase-I parent, from which a model of these plates' own sample is
        trained on their controls, registered as challenger, and scores them.
        """
        return self.result(self.submit(plates, layout=layout, model=model, screen=screen, options=options, adapt=adapt)["id"])

    def submit(self, plates: Sequence[Path], *, layout: Path, model: str, screen: str | Mapping[str, Any],
               options: Mapping[str, Any] | None = None, adapt: bool = False) -> dict[str, Any]:
        """Send plates as a job; its record, once the service has it on disk. What was sent before is the job that it was then.

        The record's `sent_as` says what was done to the plates before they travelled, "" for nothing.
        """
        with tempfile.TemporaryDirectory(prefix="dosewell-") as folder:
            package = self.package(plates, layout=layout, model=model, screen=screen, into=Path(folder))
            texts = {"model": model, "screen": json.dumps(package.screen.to_dict()), "options": json.dumps(options or {}),
                     "adapt": str(adapt).lower()}
            record = self._send("/jobs", texts, [*(("images", path) for path in package.files), ("layout", layout)])
        return {**record, "sent_as": package.said}

    def package(self, plates: Sequence[Path], *, layout: Path, model: str, screen: str | Mapping[str, Any], into: Path) -> Package:
        """The plates as they would travel; stacks are projected to what the card of the model, if it is a champion, reads."""
        champion = self._champion(model)
        planes = champion["planes"] if champion else ()
        described = read_screen(screen if isinstance(screen, str) else json.dumps(screen))
        return pack(plates, described, planes, plate=_only_plate(layout, described, plates), into=into, progress=self._progress)

    def describe(self, sample: str, *, layout: Path, model: str) -> dict[str, Any]:
        """The fields of a screen of which only the sample is known: named after the layout's folder, on the smallest plate that holds the
        layout, with the controls that it has, imaged as `model` expects. Raises InputError where the service has no such champion.
        """
        champion = self._champion(model)
        if champion is None:
            raise InputError(f"how these plates were imaged is not known, and {model} is no champion whose card says how they should be: "
                             "write a screen.yaml (docs/tables.md)")
        raw = read_layout_table(layout)
        size = smallest_format(raw)
        acquisition = champion["acquisition"]
        channels = acquisition.get("channels") or list(dict.fromkeys(re.split("[.:]", plane)[0] for plane in champion["planes"]))
        kind = champion["kind"] if same_sample(sample, champion["sample"]) else "cell_line"
        depth = {"bit_depth": acquisition["bit_depth"]} if acquisition.get("bit_depth") else {}
        return {"name": layout.absolute().parent.name or "screen", "sample": sample, "kind": kind, "plate_format": size,
                "channels": channels, **depth,
                "controls": controls_of(parse_layout(raw, plate_format=size, default_plate=UNNAMED).layout)}

    def wait(self, job: str) -> dict[str, Any]:
        """The record of a job once it is done. Raises RejectedError for one that was refused, ServiceError for one that failed."""
        pause = _FIRST
        while (record := self.job(job))["state"] in ("queued", "running"):
            at = record["progress"]
            self._progress(at["stage"] or record["note"] or "waiting for its turn", at["done"], at["total"])
            time.sleep(pause)
            pause = min(1.3 * pause, _LONGEST)
        if record["state"] == "refused":
            raise RejectedError(record["error"], [Finding(**item) for item in record["findings"]], status=400)
        if record["state"] != "done":
            raise ServiceError(f"job {job} {record['state']}: {record['error']}", status=500)
        return record

    def result(self, job: str) -> Scores:
        """The tables of a job, once it is done."""
        self.wait(job)
        return Scores.of(self._get(f"/jobs/{job}/result"))

    def download(self, job: str, form: str, *, to: Path) -> Path:
        """The result as json, csv, parquet (a zip of tables), xlsx or html, in the folder `to` under the service's name: whole or not."""
        self.wait(job)
        response = self._fetch(f"/jobs/{job}/result", params={"format": form})
        plain, _, encoded = response.headers.get("content-disposition", "").partition("; filename*=UTF-8''")
        name = Path(unquote(encoded) or plain.partition('filename="')[2].rstrip('"')).name      # a gateway may have taken it away
        return write_whole(to / (name or f"{job}.{'zip' if form in ('csv', 'parquet') else form}"), response.content)

    def change_wells(self, job: str, changes: Sequence[Mapping[str, Any]], *, revision: int | None = None) -> Scores:
        """Leave wells out of a job's curves or take them back: [{plate, well, reason, excluded}]. Fitted again, not scored again, and kept.

        revision: of the result that the wells were chosen by (`scores.answer["revision"]`): where others changed one of them since, it is
        refused with 409. Sent once: where the answer is lost, look at `result` before it is said again.
        """
        self._answer(self._once("POST", f"/jobs/{job}/exclusions", json={
            "exclusions": [dict(change) for change in changes], "revision": revision}))
        return self.result(job)

    def job(self, job: str) -> dict[str, Any]:
        """GET /jobs/{id}."""
        return self._get(f"/jobs/{job}")

    def jobs(self, *, state: str = "") -> Iterator[dict[str, Any]]:
        """All jobs, or those of a state, newest first; asked for as they are taken. They may be deleted meanwhile."""
        place = None
        while place != "":
            answer = self._json(self._fetch("/jobs", params={"state": state, "before": place or ""}))
            yield from answer["jobs"]
            place = answer["next"]

    def delete(self, job: str) -> None:
        """Delete a job with its images and results."""
        self._answer(self._once("DELETE", f"/jobs/{job}"))

    # -- images without a layout, and models ---------------------------------------------------------------------------

    def classify(self, images: Sequence[Path], *, model: str, imageset: str | Mapping[str, Any],
                 options: Mapping[str, Any] | None = None) -> Classes:
        """Classes of single images (of `read_images`). imageset: text of imageset.yaml, or its fields; `sample` must be there."""
        texts = {"model": model, "imageset": imageset if isinstance(imageset, str) else json.dumps(imageset),
                 "options": json.dumps(options or {})}
        return Classes.of(self._send("/classify", texts, [("images", path) for path in images], names=sent_names(images)))

    def models(self) -> dict[str, Any]:
        """GET /models."""
        return self._get("/models")

    def promotions(self) -> list[dict[str, Any]]:
        """GET /promotions."""
        return list(self._get("/promotions")["promotions"])

    def _champion(self, model: str) -> dict[str, Any] | None:
        """What the service tells of the champion that `model` names; None for other versions, and for what it does not serve."""
        name = model.strip().removesuffix("@champion")
        return next((found["serving"] for found in self.models()["models"] if found["name"] == name), None)

    # -- how it is asked -----------------------------------------------------------------------------------------------

    def _get(self, path: str) -> dict[str, Any]:
        return self._json(self._fetch(path))

    def _send(self, path: str, texts: Mapping[str, str], files: Sequence[tuple[str, Path]], *, names: Sequence[str] = ()) -> dict[str, Any]:
        """POST a form, from the disk and with progress; again if the connection is lost, which the service bears. names: of the files."""
        total = sum(file.stat().st_size for _, file in files)

        def attempt() -> httpx.Response:
            sent = 0

            def told(count: int) -> None:
                nonlocal sent
                sent += count
                self._progress("sending", min(sent, total), total)

            with ExitStack() as stack:
                parts = [(field, (name, Reported(stack.enter_context(file.open("rb")), told)))
                         for (field, file), name in zip(files, names or [file.name for _, file in files], strict=True)]
                return self._once("POST", path, data=dict(texts), files=parts)
        return self._json(self._again(attempt))

    def _fetch(self, path: str, **content: Any) -> httpx.Response:
        return self._again(lambda: self._once("GET", path, **content))

    def _again(self, attempt: Callable[[], httpx.Response]) -> httpx.Response:
        """The answer of an attempt; one that is lost on the way, or meets a service that starts again, is repeated while patience lasts."""
        end, pause = time.monotonic() + self._patience, 0.5
        while True:
            last = time.monotonic() + pause > end
            try:
                response = attempt()
            except ServiceError:
                if last:
                    raise
            else:
                if last or response.status_code not in _PASSING:
                    return self._answer(response)
            self._progress("waiting for the service", 0, 0)
            time.sleep(pause)
            pause = min(2 * pause, 10.0)

    def _once(self, method: str, path: str, **content: Any) -> httpx.Response:
        try:
            return self._http.request(method, path, **content)
        except httpx.HTTPError as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):   # waiting does not help
                raise InputError(f"the certificate of {self._http.base_url} is not trusted ({error}); name the file of your site's "
                                 "authority in the environment variable SSL_CERT_FILE, or have it installed on this machine") from error
            said = str(error) or "the connection broke"
            raise ServiceError(f"no answer from {self._http.base_url} ({said}); is the service up?") from error

    def _answer(self, response: httpx.Response) -> httpx.Response:
        """The response, if it is a good one."""
        if response.is_success:
            return response
        if response.has_redirect_location:
            raise ServiceError(f"{self._http.base_url} answered that it is elsewhere, at {response.headers['location']}; name the address "
                               "of the service as it is there", status=response.status_code)
        answer = self._json(response)
        if response.is_client_error and {"error", "findings"} <= answer.keys():
            raise RejectedError(answer["error"], [Finding(**item) for item in answer["findings"]], status=response.status_code)
        raise ServiceError(f"{self._http.base_url} answered {response.status_code}: {answer.get('error', '')}", status=response.status_code)

    def _json(self, response: httpx.Response) -> dict[str, Any]:
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            said = " ".join(re.sub("<[^>]*>", " ", response.text[:2000]).split())[:100]
            raise ServiceError(f"{self._http.base_url} answered {response.status_code} and not as Dosewell does, so something before "
                               f"it, or in its place, did: {said}", status=response.status_code)
        return answer

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _authorities() -> ssl.SSLContext:
    """Whose certificates are trusted: the usual ones, this machine's own, and those of SSL_CERT_FILE, for a site's own authority."""
    context = httpx.create_ssl_context()
    context.load_default_certs()
    return context


def _only_plate(layout: Path, screen: Screen, plates: Sequence[Path]) -> str:
    """The plate that a layout names, where it names one; else the folder in which the images lie."""
    folder = next((path.absolute().parent.name for path in plates), "") or UNNAMED
    named = set(parse_layout(read_layout_table(layout), plate_format=screen.plate_format, default_plate=folder).layout["plate"])
    return named.pop() if len(named) == 1 else folder
