"""Many screens at once: the same numbers as the stage `score`, and every plate counted."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from models.errors import DosewellError, Finding, ImageError, InputError
from models.networks.bundle import read_card, trunk_finder, write_card
from models.networks.predict import load_predictor
from models.plates.data_hash import data_md5
from models.plates.images import PlateArchive, write_plate
from models.plates.layout import parse_layout, write_layout
from models.plates.screen import Channel, Screen
from models.plates.spreadsheets import read_table
from pipelines.lineage import commit_in_words
from pipelines.plate_tasks import ModelPlace, _loaded
from pipelines.pools import InlineExecutor, Pool
from pipelines.prepare import run as prepare
from pipelines.prepared import read_prepared
from pipelines.score import run as score
from pipelines.score_archive import main, plan, run, write_summary
from pipelines.screens import plate_archives, read_screen, write_screen
from tests.pipelines.archives import OPTIONS, make_screen, planned_in, with_reference
from tests.serving.tiny import MODEL, ROOT, tiny_bundle, tiny_layout
from validation.rules import judge_screen, take_inventory


def test_the_scores_are_those_of_the_stage(tmp_path: Path, bundle: Path, command: Callable[..., Path]) -> None:
    screen = make_screen(tmp_path / "one", plates=("P1", "P2"))
    with_reference(bundle)
    out = command(screen) / "scores" / "one"
    predictor = load_predictor(bundle, find_trunk=trunk_finder([bundle.parent]), device="cpu")
    prepare(screen, predictor.card.recipe.input, tmp_path / "prepared", kept=tmp_path / "kept")
    data = read_prepared(screen, tmp_path / "prepared")
    expected = score(data, predictor, OPTIONS)
    assert expected.drift["structure_size"].notna().tolist() == [True, True]
    for name, table in {"wells": expected.wells, "curves": expected.curves, "quality": expected.quality, "drift": expected.drift}.items():
        found = pd.read_parquet(out / f"{name}.parquet")
        if name == "wells":
            found, table = (item.assign(flags=item["flags"].map(list)) for item in (found, table))
        pd.testing.assert_frame_equal(found, table, check_dtype=False)
    parsed = parse_layout(read_table(screen / "layout.csv"), plate_format=96)
    judged = judge_screen(parsed, data.screen, inventory=take_inventory(plate_archives(screen)))
    told = json.loads((out / "findings.json").read_text())
    assert told == [finding.record() for finding in (*judged.findings, *expected.findings)]
    assert judged.findings
    assert expected.findings
    lineage = json.loads((out / "lineage.json").read_text())
    assert lineage["data_md5"] == data_md5(screen) == data.data_md5
    assert lineage["version"] == predictor.sha256[:12]
    assert lineage["git_commit"] == commit_in_words()
    assert "doctype" in (out / "report.html").read_text()[:20].lower()


def test_every_plate_has_a_row_and_a_refused_screen_stops_alone(tmp_path: Path, command: Callable[..., Path],
                                                               capsys: pytest.CaptureFixture[str]) -> None:
    good, other = make_screen(tmp_path / "good", plates=("P1", "P2")), make_screen(tmp_path / "other", sample="HELA")
    bad = make_screen(tmp_path / "bad", plates=("P1", "P2"))
    layout = tiny_layout("P1")
    write_layout(layout[layout["role"] != "positive"], bad / "layout.csv")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DosewellError, match="some screens were refused"):
        command(good, other, bad, empty)
    plates = pd.read_csv(tmp_path / "out" / "plates.csv", keep_default_na=False)
    assert plates[["screen", "plate", "status"]].to_numpy().tolist() == [
        ["good", "P1", "scored"], ["good", "P2", "scored"], ["other", "", "refused"], ["bad", "P1", "refused"], ["bad", "P2", "refused"],
        ["empty", "", "refused"]]
    assert plates.loc[:1, ["wells", "images", "scored"]].astype(int).to_numpy().tolist() == [[96, 96, 96]] * 2
    assert "these images are of HELA" in plates["reason"][2]
    assert "positive control" in plates["reason"][3]
    said = capsys.readouterr().out
    assert "1 of 4 screens scored: 2 plates, 192 wells, 192 with an image that gave a number" in said
    assert "refused: empty:" in said
    assert "  error: plate P1 has no positive control well" in said
    curves = pd.read_csv(tmp_path / "out" / "curves.csv")
    assert curves["screen"].unique().tolist() == ["good"]
    assert curves["treatment"].tolist() == ["alpha", "beta"]
    index = (tmp_path / "out" / "index.html").read_text()
    assert 'href="scores/good/report.html"' in index


def test_wells_without_an_image_are_counted(tmp_path: Path, command: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    screen = make_screen(tmp_path / "gap")
    with PlateArchive(screen / "images" / "P1.zip") as archive:
        kept = [(member, archive.read(member)) for member in archive.members["member"] if not member.startswith(("A01_", "H12_"))]
    write_plate(screen / "images" / "P1.zip", kept)
    layout = tiny_layout()
    empty = layout["well"].isin(["A01", "H12"])
    write_layout(layout.assign(role=layout["role"].mask(empty, "empty"), treatment=layout["treatment"].mask(empty, ""),
                               dose=layout["dose"].mask(empty), dose_unit=layout["dose_unit"].mask(empty, "")), screen / "layout.csv")
    row = pd.read_csv(command(screen) / "plates.csv").iloc[0]
    assert (row["wells"], row["images"], row["scored"], row["left_out"]) == (96, 94, 94, 0)
    assert "96 wells, 94 with an image that gave a number, 0 left out of the curves" in capsys.readouterr().out


def test_a_model_s_limits_judge_the_screen_and_its_failed_gates_are_on_the_pages(tmp_path: Path, bundle: Path,
                                                                                 command: Callable[..., Path]) -> None:
    tiny_bundle(bundle, passed=False)
    out = command(screen := make_screen(tmp_path / "one"))
    assert "r2_cv is 0.1" in (out / "scores" / "one" / "report.html").read_text()
    assert "model gates failed" in (out / "index.html").read_text()
    write_card(bundle, replace(read_card(bundle), validation={"min_controls": 17}))
    with pytest.raises(DosewellError, match="some screens were refused"):
        command(screen)
    assert "16 negative control wells, where 17 are needed" in pd.read_csv(out / "plates.csv")["reason"][0]


def test_a_layout_without_plates_means_the_only_archive(tmp_path: Path, bundle: Path, command: Callable[..., Path]) -> None:
    with_reference(bundle)
    screen = make_screen(tmp_path / "one")
    write_layout(tiny_layout().drop(columns="plate"), screen / "layout.csv")
    out = command(screen)
    assert pd.read_csv(out / "plates.csv")[["plate", "wells", "scored"]].to_numpy().tolist() == [["P1", 96, 96]]
    assert pd.read_parquet(out / "scores" / "one" / "drift.parquet")["structure_size"].notna().all()


def test_images_that_are_damaged_are_named_as_the_rules_name_them(tmp_path: Path, command: Callable[..., Path]) -> None:
    screen = make_screen(tmp_path / "one")
    with PlateArchive(screen / "images" / "P1.zip") as archive:
        raw = {member: archive.read_bytes(member) for member in archive.members["member"]}
    with zipfile.ZipFile(screen / "images" / "P1.zip", "w") as spoiled:
        for number, (member, content) in enumerate(raw.items()):
            spoiled.writestr(member, content if number > 2 else content[:200])
    with pytest.raises(DosewellError, match="some screens were refused"):
        command(screen)
    judged = judge_screen(parse_layout(read_table(screen / "layout.csv"), plate_format=96), read_screen(screen),
                          inventory=take_inventory(plate_archives(screen)))
    assert pd.read_csv(tmp_path / "out" / "plates.csv")["reason"][0] == "; ".join(finding.message for finding in judged.errors)


def test_a_plate_that_looks_inverted_is_told_beside_the_rules_findings(tmp_path: Path, command: Callable[..., Path],
                                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.plate_tasks.inversion_findings", lambda images, *_: [
        Finding(rule="inverted", severity="warning", plate=images.wells["plate"].iloc[0], message="black and white are exchanged")])
    out = command(make_screen(tmp_path / "one", plates=("P1", "P2")))
    told = json.loads((out / "scores" / "one" / "findings.json").read_text())
    assert sorted(finding["plate"] for finding in told if finding["rule"] == "inverted") == ["P1", "P2"]


def test_a_model_that_cannot_be_loaded_refuses_its_screens_in_words(tmp_path: Path, bundle: Path) -> None:
    planned = planned_in(tmp_path, bundle, make_screen(tmp_path / "one", plates=("P1", "P2")))
    (tmp_path / "out" / "trunks" / "trunk-0" / "trunk.safetensors").rename(tmp_path / "away")
    _loaded.cache_clear()       # what other tests loaded stands on the same trunk, which is then not looked for
    (outcome,) = run(planned, Pool(InlineExecutor(), lambda: 1), progress=False)
    assert "trunk small_cnn (none, seed 0" in outcome.error
    assert write_summary(planned, [outcome], tmp_path / "out")["status"].tolist() == ["refused", "refused"]


def test_pairs_of_drugs_of_all_screens_are_joined(tmp_path: Path, bundle: Path) -> None:
    planned = planned_in(tmp_path, bundle, *(make_screen(tmp_path / name) for name in ("one", "two")))
    outcomes = run(planned, Pool(InlineExecutor(), lambda: 1), progress=False)
    pairs = pd.DataFrame({"treatment": ["alpha"], "treatment_2": ["beta"]})
    pairs.to_parquet(tmp_path / "out" / "scores" / "two" / "combination_pairs.parquet", index=False)
    write_summary(planned, outcomes, tmp_path / "out")
    assert pd.read_csv(tmp_path / "out" / "combination_pairs.csv").to_dict("records") == [
        {"screen": "two", "treatment": "alpha", "treatment_2": "beta"}]


def test_single_doses_of_all_screens_are_joined_as_long_as_there_are_some(tmp_path: Path, command: Callable[..., Path]) -> None:
    """Two of the screen's doses at first; the mended layout has them all."""
    screen, layout = make_screen(tmp_path / "one"), tiny_layout("P1")
    few = layout["dose"].isna() | layout["dose"].rank(method="dense").le(2)
    write_layout(layout.assign(role=layout["role"].where(few, "empty"), treatment=layout["treatment"].where(few, ""),
                               dose=layout["dose"].where(few), dose_unit=layout["dose_unit"].where(few, "")), screen / "layout.csv")
    out = command(screen)
    table = pd.read_csv(out / "single_doses.csv")
    assert table.columns[0] == "screen"
    assert table["screen"].eq("one").all()
    assert set(table["treatment"]) == set(layout.loc[layout["dose"].notna(), "treatment"])
    write_layout(layout, screen / "layout.csv")
    command(screen)
    assert not (out / "single_doses.csv").exists()


def test_of_several_models_the_one_of_the_sample_scores(tmp_path: Path, bundle: Path) -> None:
    other = tiny_bundle(tmp_path / "bundles" / "viability-OTHER", seed=3, name="viability-OTHER")
    record = json.loads((other / "card.json").read_text())
    (other / "card.json").write_text(json.dumps(record | {"sample": "OTHER"}))
    models = [ModelPlace(bundle=folder, device="cpu") for folder in (bundle, other)]
    screens = [make_screen(tmp_path / "one"), make_screen(tmp_path / "two", sample="OTHER"), make_screen(tmp_path / "three", sample="HELA")]
    found = plan(screens, tmp_path / "out", models, options=OPTIONS)
    assert [read_card(item.task.model.bundle).name if item.task else "" for item in found] == [MODEL, "viability-OTHER", ""]
    assert "none of the models is for HELA, but for TINY, OTHER" in found[2].outcome.error
    with pytest.raises(InputError, match="several models are for TINY"):
        plan(screens, tmp_path / "out", [models[0], models[0]], options=OPTIONS)
    (other / "card.json").write_text(json.dumps(record | {"sample": "Tiny "}))
    with pytest.raises(InputError, match="several models are for TINY, Tiny"):
        plan(screens, tmp_path / "out", models, options=OPTIONS)


def test_another_sample_is_scored_when_forced_and_flagged(tmp_path: Path, command: Callable[..., Path]) -> None:
    out = command(make_screen(tmp_path / "other", sample="HELA"), options=("--force",))
    assert "sample_mismatch" in (out / "scores" / "other" / "findings.json").read_text()


def test_images_that_the_model_cannot_read_are_told(tmp_path: Path, command: Callable[..., Path]) -> None:
    screen = make_screen(tmp_path / "one")
    write_screen(screen, Screen(name="one", sample="TINY", channels=(Channel(name="hoechst"),), positive_control={"image": "kill"}))
    with pytest.raises(DosewellError, match="some screens were refused"):
        command(screen)
    assert "needs channel 'brightfield'" in pd.read_csv(tmp_path / "out" / "plates.csv")["reason"][0]


def test_images_that_cannot_be_prepared_are_told_with_or_without_findings(tmp_path: Path, command: Callable[..., Path],
                                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ImageError("no plane of plate P1 is in focus")
    monkeypatch.setattr("validation.reading.PlateReader.images", fail)
    with pytest.raises(DosewellError, match="some screens were refused"):
        command(make_screen(tmp_path / "one"))
    assert pd.read_csv(tmp_path / "out" / "plates.csv")["reason"].tolist() == ["no plane of plate P1 is in focus"]


def test_screens_of_one_name_are_refused(tmp_path: Path, command: Callable[..., Path]) -> None:
    screens = [make_screen(tmp_path / place / "same") for place in ("a", "b")]
    with pytest.raises(InputError, match="several screens are called same"):
        command(*screens)


def test_bad_settings_are_told(tmp_path: Path, command: Callable[..., Path]) -> None:
    screen = make_screen(tmp_path / "one")
    with pytest.raises(DosewellError, match="--workers must be 1 or more"):
        command(screen, options=("--workers", "0"))
    with pytest.raises(DosewellError, match=r"no Ray cluster answers at '127.0.0.1:1'"):
        command(screen, options=("--ray", "127.0.0.1:1"))
    with pytest.raises(InputError, match="no model: name a registered one"):
        main([str(screen), "--out", str(tmp_path / "out"), "--params", str(ROOT / "params.yaml")])
