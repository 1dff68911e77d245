"""The door to MLflow: one store, one experiment, and the few things a run needs of it, each safe to repeat.

Every call names its run explicitly (never MLflow's fluent, global state). A repeated call changes nothing: runs, models
and versions are found again by our own tags, and MLflow (SqlAlchemyStore, 3.17) ignores a metric point whose key, time,
step and value it has. mlflow takes seconds and some 150 MB to import, so it is imported inside functions only.
"""

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

RUN_ID, RUN_KEY, MODEL_KEY, DELIVERED = "openwit.run_id", "openwit.run_key", "openwit.model_key", "openwit.delivered"

# Limits of mlflow/utils/validation.py (3.17.2).
METRICS_PER_BATCH, PARAMS_PER_BATCH, DIGEST_LENGTH = 1000, 100, 32
_KEY_LENGTH, _PARAM_LENGTH, _TAG_LENGTH, _INPUT_TAG_LENGTH = 250, 6000, 8000, 500

_ENVIRONMENT = {
    # A dead server answers in seconds and we try again ourselves; MLflow's own 7 retries block for some 4 minutes.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",
    "DO_NOT_TRACK": "true",
}
_EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}  # the pages for training, not for agents
_REFUSALS = (
    "INVALID_PARAMETER_VALUE",
    "RESOURCE_DOES_NOT_EXIST",
    "BAD_REQUEST",
    "INVALID_STATE",
    "REQUEST_LIMIT_EXCEEDED",
)


class AwayError(Exception):
    """The store did not answer or could not work now; the same call may succeed later."""


class RefusedError(Exception):
    """The store answered that it will never take this value."""


class Point(NamedTuple):
    """One metric value at one step."""

    key: str
    value: float
    time_ms: int
    step: int


@contextmanager
def _translated() -> Iterator[None]:
    from mlflow.exceptions import MlflowException
    from requests import HTTPError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except MlflowException as error:
        raise (RefusedError if error.error_code in _REFUSALS else AwayError)(_one_line(error)) from error
    except HTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        raise (RefusedError if status in (400, 404, 413, 422) else AwayError)(_one_line(error)) from error
    except (OSError, SQLAlchemyError) as error:
        raise AwayError(_one_line(error)) from error


def _one_line(error: Exception) -> str:
    return re.sub(r"//[^/@\s]*@", "//", " ".join(str(error).split()))[:300]


def _whole_database(uri: str, artifacts: Path) -> None:
    """Make a SQLite store beside its place and put it there when it is whole.

    MLflow's migrations are no transaction: a process killed in their middle leaves tables that every later start stumbles over.
    """
    path = Path(uri.removeprefix("sqlite:///"))
    if not uri.startswith("sqlite:///") or path.exists():
        return
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".mlflow-") as folder:
        new = Path(folder) / path.name
        SqlAlchemyStore(f"sqlite:///{new}", artifacts.as_uri()).engine.dispose()
        with contextlib.suppress(FileExistsError):  # somebody else was faster
            os.link(new, path)


class Tracker:
    """A connection to the experiment `experiment` of the store `uri`; `artifacts` is where a database store keeps files.

    Every method raises AwayError or RefusedError, and nothing of MLflow's own.
    """

    def __init__(self, uri: str, experiment: str, artifacts: Path) -> None:
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        import mlflow  # noqa: F401  (needed before the exceptions can be translated)

        with _translated():
            _whole_database(uri, artifacts)
            self._client = _client(uri)
            self.experiment_id = self._experiment(experiment, None if uri.startswith("http") else artifacts.as_uri())

    def _experiment(self, name: str, location: str | None) -> str:
        from mlflow.exceptions import MlflowException

        if (found := self._client.get_experiment_by_name(name)) is None:
            try:
                return str(self._client.create_experiment(name, location, _EXPERIMENT_TAGS))
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            found = self._client.get_experiment_by_name(name)
        if found.lifecycle_stage == "deleted":
            raise AwayError(f"experiment {name!r} was deleted in MLflow; restore it or set MLFLOW_EXPERIMENT_NAME")
        return str(found.experiment_id)

    def find_runs(self, run_id: str) -> dict[str, list[tuple[str, Mapping[str, str]]]]:
        """Local key -> the MLflow runs (id, tags) that carry it, in a fixed order; normally one each."""
        found: dict[str, list[tuple[str, Mapping[str, str]]]] = {}
        with _translated():
            page = None
            while True:
                runs = self._client.search_runs(
                    [self.experiment_id],
                    f"tags.`{RUN_ID}` = '{run_id}'",
                    page_token=page,
                    order_by=["attributes.run_id"],
                )
                for run in runs:
                    found.setdefault(run.data.tags[RUN_KEY], []).append((run.info.run_id, run.data.tags))
                page = runs.token
                if not page:
                    return found

    def run_tags(self, mlflow_id: str) -> Mapping[str, str]:
        with _translated():
            tags: Mapping[str, str] = self._client.get_run(mlflow_id).data.tags
            return tags

    def create_run(self, name: str, start_ms: int, tags: Mapping[str, str], parent: str | None) -> str:
        every = dict(tags) | ({"mlflow.parentRunId": parent} if parent else {})
        with _translated():
            run = self._client.create_run(self.experiment_id, start_ms, _clipped(every, _TAG_LENGTH), run_name=name)
            return str(run.info.run_id)

    def delete_run(self, mlflow_id: str) -> None:
        with _translated():
            self._client.delete_run(mlflow_id)

    def log_points(self, mlflow_id: str, points: Sequence[Point]) -> list[str]:
        """Log up to METRICS_PER_BATCH points; a point the store refuses is named in the result, the others are kept."""
        from mlflow.entities import Metric

        try:
            with _translated():
                self._client.log_batch(
                    mlflow_id, metrics=[Metric(_key(p.key), p.value, p.time_ms, p.step) for p in points]
                )
        except RefusedError as error:
            if len(points) == 1:
                return [f"metric {points[0].key}: {error}"]
            half = len(points) // 2
            return self.log_points(mlflow_id, points[:half]) + self.log_points(mlflow_id, points[half:])
        return []

    def log_params(self, mlflow_id: str, params: Mapping[str, str]) -> list[str]:
        """Log parameters; a changed value is refused by MLflow and named in the result."""
        from mlflow.entities import Param

        return self._log_each(
            "param", mlflow_id, [Param(*item) for item in _clipped(params, _PARAM_LENGTH).items()], "params"
        )

    def log_tags(self, mlflow_id: str, tags: Mapping[str, str]) -> list[str]:
        from mlflow.entities import RunTag

        return self._log_each("tag", mlflow_id, [RunTag(*item) for item in _clipped(tags, _TAG_LENGTH).items()], "tags")

    def _log_each(self, what: str, mlflow_id: str, items: Sequence[Any], argument: str) -> list[str]:
        refused = []
        for start in range(0, len(items), PARAMS_PER_BATCH):
            batch = items[start : start + PARAMS_PER_BATCH]
            try:
                with _translated():
                    self._client.log_batch(mlflow_id, **{argument: batch})
            except RefusedError as error:
                if len(batch) == 1:
                    refused.append(f"{what} {batch[0].key}: {error}")
                    continue
                for item in batch:
                    refused += self._log_each(what, mlflow_id, [item], argument)
        return refused

    def log_dataset(
        self, mlflow_id: str, name: str, digest: str, source: str, profile: Mapping[str, Any], context: str
    ) -> None:
        """A dataset input. MLflow takes 36 characters of digest: the first 32 stand there, all of it in profile and tag."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        text = json.dumps(dict(profile) | {"manifest_id": digest}, default=str)
        kind = source.split("://", 1)[0] if "://" in source else "local"
        dataset = Dataset(name, digest[:DIGEST_LENGTH], kind, json.dumps({"uri": source}), profile=text)
        tags = [InputTag("mlflow.data.context", context), InputTag("openwit.manifest_id", digest[:_INPUT_TAG_LENGTH])]
        with _translated():
            self._client.log_inputs(mlflow_id, [DatasetInput(dataset, tags)])

    def log_artifact(self, mlflow_id: str, path: Path, artifact_path: str) -> None:
        with _translated(), _patience():
            if path.is_dir():
                self._client.log_artifacts(mlflow_id, str(path), artifact_path or None)
            else:
                self._client.log_artifact(mlflow_id, str(path), artifact_path or None)

    def log_model(self, mlflow_id: str, key: str, folder: Path, event: Mapping[str, Any], time_ms: int) -> str:
        """A checkpoint folder (safetensors and JSON, nothing pickled) as a READY logged model, and its version.

        `event` is the body of a journal's "model" event, `key` its name for ever. Returns the model's id.
        """
        from mlflow.entities import LoggedModelOutput, Metric

        with _translated(), _patience():
            model = self._find_model(key) or self._client.create_logged_model(
                self.experiment_id,
                name=re.sub(r"[/:.%\"']", "-", event["name"]),
                source_run_id=mlflow_id,
                tags=dict(event["tags"]) | {MODEL_KEY: key},
                params=dict(event["params"]),
                model_type="checkpoint",
            )
            self._client.log_model_artifacts(model.model_id, str(folder))
            self._describe(model, mlflow_id)
            if event["metrics"]:
                name, digest = event["dataset"] or (None, None)
                about = {"model_id": model.model_id, "run_id": mlflow_id, "dataset_name": name}
                about["dataset_digest"] = digest[:DIGEST_LENGTH] if digest else None
                points = [
                    Metric(_key(key), float(value), time_ms, event["step"], **about)
                    for key, value in event["metrics"].items()
                ]
                self._client.log_batch(mlflow_id, metrics=points)
            outputs = self._client.get_run(mlflow_id).outputs
            if model.model_id not in [output.model_id for output in (outputs.model_outputs if outputs else [])]:
                self._client.log_outputs(mlflow_id, [LoggedModelOutput(model.model_id, event["step"])])
            self._client.finalize_logged_model(model.model_id, "READY")
            if event["register_as"]:
                self._register(event["register_as"], model, mlflow_id, dict(event["tags"]) | {MODEL_KEY: key})
            return str(model.model_id)

    def _find_model(self, key: str) -> Any:
        found = self._client.search_logged_models([self.experiment_id], f"tags.`{MODEL_KEY}` = '{key}'", max_results=1)
        return found[0] if found else None

    def _describe(self, model: Any, mlflow_id: str) -> None:
        """The MLmodel file that MLflow's version page reads (JSON is YAML), with no flavour it would unpickle."""
        about = {
            "model_id": model.model_id,
            "run_id": mlflow_id,
            "artifact_path": model.artifact_location,
            "flavors": {},
        }
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "MLmodel"
            path.write_text(json.dumps(about, indent=1) + "\n", "utf-8")
            self._client.log_model_artifact(model.model_id, str(path))

    def _register(self, name: str, model: Any, mlflow_id: str, tags: Mapping[str, str]) -> None:
        from mlflow.exceptions import MlflowException

        name = re.sub(r"[/:]", "-", name)
        try:
            self._client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        if self._client.search_model_versions(f"name = '{name}' AND tags.`{MODEL_KEY}` = '{tags[MODEL_KEY]}'"):
            return
        # The location, not "models:/<id>": the database store resolves that form through the global tracking address.
        version = self._client.create_model_version(
            name, model.artifact_location, run_id=mlflow_id, tags=dict(tags), model_id=model.model_id
        )
        link = json.dumps([{"name": name, "version": int(version.version)}])
        self._client.set_logged_model_tags(model.model_id, {"mlflow.modelVersions": link})

    def end_run(self, mlflow_id: str, status: str, end_ms: int) -> None:
        with _translated():
            self._client.set_terminated(mlflow_id, status, end_ms)


def _client(uri: str) -> Any:
    """A client of `uri`; the first one makes a database's tables, one process at a time (migrations race otherwise)."""
    import fcntl

    from mlflow import MlflowClient

    if not uri.startswith("sqlite:///"):
        return MlflowClient(uri, registry_uri=uri)
    database = Path(uri.removeprefix("sqlite:///"))
    database.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{database}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return MlflowClient(uri, registry_uri=uri)


@contextmanager
def _patience(seconds: int = 120) -> Iterator[None]:
    """A server may need long to take a large file, unlike a number."""
    before = os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"]
    os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = str(max(seconds, int(before)))
    try:
        yield
    finally:
        os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = before


def _key(name: str) -> str:
    """`name` in MLflow's alphabet for keys."""
    return re.sub(r"[^\w\-./: ]", "_", name)[:_KEY_LENGTH]


def _clipped(values: Mapping[str, str], length: int) -> dict[str, str]:
    return {_key(key): value if len(value) <= length else value[: length - 1] + "…" for key, value in values.items()}
