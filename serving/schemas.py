"""What the service answers, as pydantic schemas: they write the OpenAPI document and check the forms that come in.

The records of wells and curves are made from the contracts in models/tables.py, so that every column is described once.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, create_model

from models.columns import Column, Contract
from models.tables import COMBINATION_PAIRS, COMBINATIONS, CURVES, IMAGE_CLASSES, SINGLE_DOSES, WELL_SCORES

_TYPES: dict[str, Any] = {"str": str, "float": float | None, "int": int, "bool": bool, "list": list[str]}


def _field(column: Column) -> tuple[Any, Any]:
    described = f"{column.meaning} [{column.unit}]" if column.unit else column.meaning
    kind = _TYPES[column.kind] if column.required else _TYPES[column.kind] | None
    return kind, Field(description=described) if column.required else Field(default=None, description=described)


def _record(contract: Contract, name: str, **more: tuple[Any, Any]) -> type[BaseModel]:
    """A schema with the contract's columns; further columns of the upload come back as they are."""
    fields = {column.name: _field(column) for column in contract.columns}
    config = ConfigDict(extra="allow", protected_namespaces=())
    model: type[BaseModel] = create_model(name, __config__=config, __doc__=f"One {contract.row}.",
                                          **{**more, **fields})  # type: ignore[call-overload]  # names come from the contract
    return model


WellRecord = _record(WELL_SCORES, "WellRecord")
ImageRecord = _record(IMAGE_CLASSES, "ImageRecord")
CurveRecord = _record(CURVES, "CurveRecord", treatment=(str, Field(description="name as in the layout")))
SingleDoseRecord = _record(SINGLE_DOSES, "SingleDoseRecord")
CombinationRecord = _record(COMBINATIONS, "CombinationRecord")
CombinationPairRecord = _record(COMBINATION_PAIRS, "CombinationPairRecord")


class FindingRecord(BaseModel):
    """One thing that is wrong (error) or worth knowing (warning) about the upload."""

    rule: str = Field(description="short name of the rule, stable between releases")
    severity: str = Field(description="error or warning")
    message: str = Field(description="what was expected, what was found, and the way out")
    plate: str = Field(default="", description="that it is about; empty: all, or none")
    well: str = Field(default="", description="that it is about, or several as 'A01, B02'; empty: none in particular")
    column: str = Field(default="", description="of the layout, or field of the form, that it is about")
    value: str = Field(default="", description="that was found there, as text")


class Lineage(BaseModel):
    """Which model answered, and where it comes from."""

    model_config = ConfigDict(protected_namespaces=())

    model: str = Field(description="registered name; of measured read-outs 'measured'")
    version: str = Field(description="number of the model's version, as text")
    run_id: str = Field(description="MLflow run that registered it")
    git_commit: str = Field(description="of the code that trained it")
    git_dirty: str = Field(description="whether tracked files differed from the commit: true, false, or empty when unknown")
    data_md5: str = Field(description="hash of the training data, as DVC computes it")
    params_hash: str = Field(description="hash of all that defines its training")
    bundle_sha256: str = Field(description="hash of the model's files")
    precision: str = Field(description="arithmetic of the trunk: fp32, or bf16 where the card allows it and the CPU has it; empty for "
                                       "measured read-outs")
    service_version: str = Field(description="of the service that answered")


class GateRecord(BaseModel):
    """One bound on a metric of the model's evaluation."""

    metric: str = Field(description="name of the metric")
    value: float | None = Field(description="that the model's evaluation gave; null: none could be computed")
    minimum: float | None = Field(description="that it may have; null: any")
    maximum: float | None = Field(description="that it may have; null: any")
    passed: bool = Field(description="whether it lies within")
    reason: str = Field(description="the same in words")


class ScoreAnswer(BaseModel):
    """The answer of POST /score. Numbers that do not exist are null."""

    wells: list[WellRecord] = Field(description="one per row of the layout, in its order")  # type: ignore[valid-type]  # made by _record
    curves: list[CurveRecord] = Field(description="one per treatment")  # type: ignore[valid-type]  # made by _record
    quality: list[dict[str, Any]] = Field(description="assay quality, one per plate")
    drift: list[dict[str, Any]] = Field(description="how the controls differ from those that the model learned from, one per plate; see "
                                        "models/networks/drift.py")
    flags: list[FindingRecord] = Field(description="what a person should know before using the numbers")
    screen: dict[str, Any] = Field(description="the screen as it was understood, fields of screen.yaml")
    gates: list[GateRecord] = Field(description="the bounds that the model's own evaluation had to keep")
    lineage: Lineage = Field(description="which model answered")
    single_doses: list[SingleDoseRecord] | None = Field(  # type: ignore[valid-type]  # made by _record
        default=None, description="one per dose of a treatment that has too few doses for a curve; left out where none has")
    combinations: list[CombinationRecord] | None = Field(  # type: ignore[valid-type]  # made by _record
        default=None, description="one per dose pair of two treatments; left out where no well holds two")
    combination_pairs: list[CombinationPairRecord] | None = Field(  # type: ignore[valid-type]  # made by _record
        default=None, description="one per pair of treatments, with the mean of its dose pairs; left out where no well holds two")


class ClassifyAnswer(BaseModel):
    """The answer of POST /classify."""

    images: list[ImageRecord] = Field(  # type: ignore[valid-type]  # made by _record
        description="one per image, by name; with `thumbnail`, a PNG as a data address, "
                    "where options.thumbnails asks for it")
    flags: list[FindingRecord] = Field(description="what a person should know before using the classes")
    classes: list[str] = Field(description="of the model; `probability` is that of the first")
    sure: float = Field(description="probability of the likelier class below which an image is undecided: flag `unsure`")
    calibration: dict[str, Any] | None = Field(description="temperature that the logits are divided by, and what it rests on; null: none "
                                                           "made the probabilities of held-out images better")
    imageset: dict[str, Any] = Field(description="the images' description as it was understood, fields of imageset.yaml")
    gates: list[GateRecord] = Field(description="the bounds that the model's own evaluation had to keep")
    lineage: Lineage = Field(description="which model answered")


class ErrorAnswer(BaseModel):
    """Every answer from 400 on."""

    error: str = Field(description="what is wrong, in a sentence")
    findings: list[FindingRecord] = Field(description="each mistake with its place and the way out; may be empty")


class ServingVersion(BaseModel):
    """The version that answers for a model."""

    version: int = Field(description="its number")
    since: str = Field(description="when it took over, ISO 8601, UTC")
    run_id: str = Field(description="MLflow run that registered it")
    git_commit: str = Field(description="of the code that trained it")
    data_md5: str = Field(description="hash of the training data, as DVC computes it")
    bundle_sha256: str = Field(description="hash of its files")
    sample: str = Field(description="cell line or patient sample that it may score")
    kind: str = Field(description="of the sample: cell_line or patient")
    system: str = Field(description="viability, profile, treatment, toxicity or tumour")
    output: str = Field(description="what its number means")
    classes: list[str] = Field(description="of a model of single images (POST /classify); empty for a model of plates (POST /score)")
    planes: list[str] = Field(description="channel:projection of each network channel")
    size: int = Field(description="pixels that images are averaged to")
    acquisition: dict[str, Any] = Field(
        description="how the images were taken that it learned from: fields of screen.yaml that yours must share")
    metrics: dict[str, float | None] = Field(description="of its own evaluation; null: it could not be computed")
    gates: str = Field(description="pass, or fail and why")


class RefusedVersion(BaseModel):
    """A champion that does not serve."""

    version: int = Field(description="its number")
    reason: str = Field(description="why it does not serve, and the way out")


class AgreementRecord(BaseModel):
    """How far the challenger agrees with the version that answers, over the plates that both scored (DOSEWELL_SHADOW=on)."""

    challenger: int = Field(description="number of its version")
    uploads: int = Field(description="that both scored")
    plates: int = Field(description="in these")
    wells: int = Field(description="for which both gave a viability")
    viability_r: float | None = Field(description="Pearson's r of the wells' viabilities")
    viability_bias: float | None = Field(description="mean of challenger minus champion")
    viability_largest: float | None = Field(description="largest difference of a well")
    curves: int = Field(description="that both fitted")
    ic50_both_stated: int = Field(description="curves for which both state an IC50 rather than a limit")
    ic50_ratio: float | None = Field(description="of those, challenger over champion, median")
    ic50_ratio_low: float | None = Field(description="from here ...")
    ic50_ratio_high: float | None = Field(description="... to here lie 9 of 10 ratios")
    ic50_one_sided: int = Field(description="curves for which one states an IC50 and the other only a limit")
    since: str = Field(description="when the first was compared, ISO 8601, UTC")
    latest: str = Field(description="when the last was compared, ISO 8601, UTC")


class ModelRecord(BaseModel):
    """A registered model."""

    name: str = Field(description="registered name")
    aliases: dict[str, int] = Field(description="alias -> number of the version that holds it")
    serving: ServingVersion | None = Field(description="null: no version answers")
    refused: RefusedVersion | None = Field(description="the version that holds the alias champion but must not serve")
    agreement: AgreementRecord | None = Field(description="null: no other version is challenger, or none was compared")


class RegistryRecord(BaseModel):
    """Whether the registry answers. If not, what is loaded goes on serving."""

    reachable: bool = Field(description="whether it answered when it was last asked")
    unreachable_since: str = Field(description="ISO 8601, UTC; empty while it answers")
    error: str = Field(description="why it does not answer; empty while it does")
    looked_at: str = Field(description="when it was last asked, ISO 8601, UTC; empty before the first time")


class ModelsAnswer(BaseModel):
    """The answer of GET /models."""

    models: list[ModelRecord] = Field(description="every registered model, by name")
    registry: RegistryRecord = Field(description="whether what is said here is of now")
    service_version: str = Field(description="of the service that answered")


class ChangeRecord(BaseModel):
    """One change of a champion, as seen by the service."""

    at: str = Field(description="when it was seen, ISO 8601, UTC")
    model: str = Field(description="registered name")
    event: str = Field(description="serving, refused or withdrawn")
    version_from: int | None = Field(description="that served before; null: none")
    version_to: int | None = Field(description="that the alias champion named then; null: none")
    reason: str = Field(description="why, where that is not plain")
    bundle_sha256: str = Field(description="hash of the files of the version that serves now")


class PromotionsAnswer(BaseModel):
    """The answer of GET /promotions, oldest first."""

    promotions: list[ChangeRecord] = Field(description="the latest 1,000")


ERRORS: dict[int | str, dict[str, Any]] = {status: {"model": ErrorAnswer, "description": text} for status, text in {
    400: "The upload cannot be used; the findings say what to change.", 401: "No token, or one that is not known.",
    403: "The token's role, the address or the site that sent the request is not allowed to do this.",
    404: "No such model, version, alias or job.",
    409: "The images are of another sample than the model's (force scores them flagged), the version must not serve, or the job is not in "
         "a state for this.",
    408: "Nothing came for a minute in the middle of the request, or less than 4 KiB a second; send it again.",
    413: "The request is too large.",
    503: "The registry cannot be reached and the model is not loaded, or the database of jobs cannot be used now.",
    507: "The service's disk is full, or takes nothing; nothing was accepted."}.items()}
