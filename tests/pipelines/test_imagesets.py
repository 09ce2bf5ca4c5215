"""Image sets through every stage: judged, learnt, compared, classified, registered and reported, as plates are."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from PIL import Image

from models.networks.bundle import read_card
from models.networks.calibration import held_out_logits
from models.registry import Registry
from models.tables import IMAGE_CLASSES, check_table
from pipelines.class_report import held_out_images, own_predictions
from tests.pipelines.imageset_chain import run_imageset_chain

MODELS = {"hepg2": ("treatment-HepG2", "treatment-HepG2-wide"), "l929": ("toxicity-L929",)}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every stage has run on tiny image sets. Read it, do not change it."""
    return run_imageset_chain(tmp_path_factory.mktemp("imagesets"))


def predictions(done: Path, model: str) -> pd.DataFrame:
    return pd.read_parquet(done / "artifacts" / "trained" / model / "predictions.parquet")


def test_sets_are_judged_with_a_page_and_data_docs(done: Path) -> None:
    for name in MODELS:
        verdict = json.loads((done / "artifacts" / "validate" / f"{name}.json").read_text())
        assert verdict["accepted"]
        assert f"Image set {name}" in (done / "artifacts" / "validate" / f"{name}.html").read_text()
        docs = (done / "artifacts" / "data_docs" / f"{name}.html").read_text()
        assert "Images with the same pixels are of one group" in docs
        assert "Expectation" in docs


def test_every_labelled_image_is_predicted_by_a_model_that_had_not_seen_its_group(done: Path) -> None:
    for name, models in MODELS.items():
        images = pd.read_csv(done / "data" / name / "images.csv", keep_default_na=False)
        for model in models:
            found = predictions(done, model)
            assert set(found["well"]) == set(images.loc[images["label"] != "", "image_id"])
            assert found["prediction_cv"].notna().all()
            assert (found.groupby("group")["fold"].nunique() == 1).all()
            assert (found.groupby("group")["part"].nunique() == 1).all()


def test_evaluation_has_the_figures_of_the_papers(done: Path) -> None:
    for model in (model for models in MODELS.values() for model in models):
        folder = done / "artifacts" / "evaluate" / model
        of_gan = {"gan_losses", "gan_sheets"} if model == "toxicity-L929" else set()
        wanted = {"learning_curve", "roc", "confusion", "reliability"} | of_gan
        assert {path.stem for path in (folder / "figures").iterdir()} == wanted
        metrics = json.loads((folder / "metrics.json").read_text())
        assert {f"{name}_cv" for name in ("accuracy", "sensitivity", "specificity", "f_score", "mcc", "kappa", "auroc")} - set(metrics) <= {
            "mcc_cv"}   # not a number where one class is never called
    assert len(pd.read_csv(done / "artifacts" / "evaluate" / "toxicity-L929" / "tables" / "gan.csv")) == 4
    assert "joined" in pd.read_csv(done / "artifacts" / "evaluate" / "toxicity-L929" / "tables" / "cotraining.csv")


def test_sample_sheets_of_the_gan_are_kept(done: Path) -> None:
    sheets = {path.stem: np.asarray(Image.open(path)) for path in (done / "artifacts" / "trained" / "toxicity-L929" / "gan").glob("*.png")}
    assert set(sheets) == {"epoch_00002", "epoch_00004", "real"}
    assert {sheet.shape for sheet in sheets.values()} == {(56, 224)}
    assert (sheets["epoch_00002"] != sheets["epoch_00004"]).any()


def test_networks_on_one_set_are_compared(done: Path) -> None:
    networks = pd.read_csv(done / "artifacts" / "compare" / "networks.csv").set_index("model")
    assert set(networks.index) == {model for models in MODELS.values() for model in models}
    for model, row in networks.iterrows():
        table = held_out_logits(predictions(done, str(model)))
        assert row["accuracy"] == pytest.approx(((table["logit"] > 0) == (table["target"] > 0.5)).mean(), abs=1e-6)
        assert row["n"] == len(table)
    anova = pd.read_csv(done / "artifacts" / "compare" / "anova.csv")
    assert anova[["imageset", "networks", "units", "df_between", "df_error"]].to_dict("records") == [
        {"imageset": "hepg2", "networks": 2, "units": 8, "df_between": 1, "df_error": 6}]


def test_every_image_is_classified_and_those_that_taught_are_marked(done: Path) -> None:
    for name, models in MODELS.items():
        folder = done / "artifacts" / "scores" / name
        raw = pd.read_parquet(folder / "classes.parquet")
        classes = check_table(raw.assign(flags=pd.Series([list(flags) for flags in raw["flags"]], dtype=object)), IMAGE_CLASSES,
                              keys=("image_id",))
        images = pd.read_csv(done / "data" / name / "images.csv", keep_default_na=False)
        assert classes["image_id"].tolist() == images["image_id"].tolist()
        parts = {well: part for _, well, part in read_card(done / "artifacts" / "models" / models[0]).training_wells}
        taught = classes["image_id"].map(parts).isin(["train", "validation", "learnt"])
        assert (classes["flags"].map(lambda flags: "training_image" in flags) == taught).all()
        assert len(pd.read_csv(folder / "classes.csv")) == len(images)


def test_runs_show_figures_and_the_curves_of_the_gan(done: Path) -> None:
    registry = Registry(f"sqlite:///{done}/mlflow.db", done / "cache")
    version = registry.resolve("toxicity-L929@challenger")
    assert version.tags["system"] == "toxicity"
    client = MlflowClient(registry.tracking_uri)
    assert {item.path for item in client.list_artifacts(version.run_id, "figures")} >= {"figures/gan_sheets.png", "figures/gan_losses.png"}
    assert len(client.get_metric_history(version.run_id, "gan/generator_loss")) == 4
    assert len(client.get_metric_history(version.run_id, "epoch/accuracy")) == 8


def test_a_class_called_none_is_on_the_page(done: Path, tmp_path: Path) -> None:
    card = replace(read_card(done / "artifacts" / "models" / "toxicity-L929"), classes=("None", "living"))
    own = predictions(done, "toxicity-L929")
    own = own.assign(label=np.where(own["target"] > 0.5, *card.classes))
    own.to_csv(tmp_path / "predictions.csv", index=False)
    held_out = held_out_images(own, own_predictions(tmp_path, card, "l929"), card)
    assert held_out["label"].tolist() == own["label"].tolist()


def test_the_report_shows_what_is_wrong(done: Path) -> None:
    pages = {name: (done / "artifacts" / "report" / f"{name}.html").read_text() for name in ("index", *MODELS)}
    for name, models in MODELS.items():
        assert f'href="{name}.html"' in pages["index"]
        found = predictions(done, models[0])
        wrong = found.loc[(found["prediction_cv"] > 0.5) != (found["target"] > 0.5), "well"]
        assert pages[name].count('<img src="data:image/png;base64,') == len(wrong) + (6 if name == "l929" else 4)
        assert all(f"<strong>{well}</strong>" in pages[name] for well in wrong)
        assert "http:" not in pages[name]     # images are spelt in 64 letters, and one may hold "http"
        assert "https:" not in pages[name]
