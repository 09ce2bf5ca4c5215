"""Folders of microscopes: each place, channel and plane where it belongs; made-up folders, then real ones."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from models.errors import InputError
from models.plates.images import member_name, write_plate
from models.plates.readers import Source, read_source
from models.plates.readers.xml_records import xml_records
from tests.models.plates.image_folders import HTD, LAYOUT, files_in, places

SHARED = Path(os.environ.get("DOSEWELL_SHARED", Path(__file__).parents[4] / "shared")) / "data" / "vendor_layouts"


# --- ImageXpress -----------------------------------------------------------------------------------------------------------

def test_imagexpress_reads_steps_as_planes_and_skips_thumbnails_and_projections(tmp_path: Path) -> None:
    folder = files_in(tmp_path / "run", *(f"P1/TimePoint_1/ZStep_{step}/x_B02_s1_w{wave}.TIF" for step in (0, 1, 2) for wave in (1, 2)),
                      "P1/TimePoint_1/ZStep_1/x_B02_s1_w1_thumb.TIF", "P1/TimePoint_1/ZStep_0/x_B03_s1_w1.TIF")
    (folder / "P1" / "x.HTD").write_text(HTD, encoding="latin-1")
    found = read_source(Source(folder=folder, plate="P1"))
    assert (found.convention, found.channels, found.facts["plate_format"]) == ("imagexpress", ("dapi", "texas_red"), 384)
    assert [place[:5] for place in places(found)] == [
        ("P1", "B02", 1, "dapi", 0), ("P1", "B02", 1, "dapi", 1), ("P1", "B02", 1, "texas_red", 0), ("P1", "B02", 1, "texas_red", 1),
        ("P1", "B03", 1, "dapi", 0)]
    assert "2 projection(s) beside single planes are left out" in found.said


def test_imagexpress_takes_the_last_time_point_unless_asked(tmp_path: Path) -> None:
    folder = files_in(tmp_path, *(f"TimePoint_{time}/x_B02_s{site}_w1.TIF" for time in (1, 2, 10) for site in (1, 2)))
    (folder / "x.HTD").write_text(HTD, encoding="latin-1")
    found = read_source(Source(folder=folder))
    assert {path.parent.name for path in found.files["path"]} == {"TimePoint_10"}
    assert [item.rule for item in found.findings] == ["timepoints"]
    early = read_source(Source(folder=folder, timepoint=1))
    assert {path.parent.name for path in early.files["path"]} == {"TimePoint_1"}
    assert not early.findings
    with pytest.raises(InputError, match="no time point 7; the images have 1, 2, 10"):
        read_source(Source(folder=folder, timepoint=7))


def test_imagexpress_names_with_a_guid_keep_their_site_apart(tmp_path: Path) -> None:
    guid = "17654C10-92F1-4DFD-98AA-6A01BBD77557"
    folder = files_in(tmp_path, f"2023-02-21/1334/p_B02_s1{guid}.tif", f"2023-02-21/1334/p_B02_s12_w3{guid}.tif",
                      f"2023-02-21/1334/p_B02_s1_thumb{guid}.tif")
    found = read_source(Source(folder=folder, plate="p"))
    assert [place[2:4] for place in places(found)] == [(1, "w1"), (12, "w3")]


def test_imagexpress_calls_several_plates_by_their_folders(tmp_path: Path) -> None:
    folder = files_in(tmp_path, "A/TimePoint_1/x_B02.TIF", "B/TimePoint_1/x_B02.TIF")
    for plate in "AB":
        (folder / plate / "x.HTD").write_text(HTD, encoding="latin-1")
    found = read_source(Source(folder=folder, plate="ignored"))
    assert sorted(found.files["plate"]) == ["A", "B"]
    assert sorted(found.raw_layout["plate"].unique()) == ["A", "B"]


# --- Opera Phenix ----------------------------------------------------------------------------------------------------------

def index_xml(*images: tuple[int, int, int, int, int, str], namespace: str = 'xmlns="http://www.perkinelmer.com/PEHH/HarmonyV5"') -> str:
    records = "".join(
        f'<Image Version="1"><id>x</id><URL>{url}</URL><Row>{row}</Row><Col>{column}</Col><FieldID>{field}</FieldID>'
        f'<PlaneID>{plane}</PlaneID><TimepointID>0</TimepointID><ChannelID>{channel}</ChannelID>'
        f'<ChannelName>{"HOECHST 33342" if channel == 1 else "Alexa 488"}</ChannelName>'
        '<ImageResolutionX Unit="m">5.98E-07</ImageResolutionX><ObjectiveMagnification Unit="">20</ObjectiveMagnification></Image>'
        for row, column, field, plane, channel, url in images)
    return (f'<?xml version="1.0" encoding="utf-8"?><EvaluationInputData {namespace}><Plates><Plate><PlateRows>16</PlateRows>'
            '<PlateColumns>24</PlateColumns><Well id="0202"/></Plate></Plates>'
            '<Wells><Well><Row>2</Row><Col>2</Col><Image id="x"/></Well></Wells>'
            f'<Images>{records}</Images></EvaluationInputData>')


def test_opera_phenix_follows_its_index_and_learns_from_it(tmp_path: Path) -> None:
    folder = files_in(tmp_path, "Images/a.tiff", "Images/b.tiff", "Images/c.tiff")
    text = index_xml((2, 2, 1, 1, 1, "a.tiff"), (2, 2, 1, 2, 1, "b.tiff"), (4, 8, 3, 1, 2, "c.tiff"))
    (folder / "Images" / "Index.idx.xml").write_text(text, encoding="utf-8")
    found = read_source(Source(folder=folder, plate="P"))
    assert places(found) == [("P", "B02", 1, "hoechst_33342", 0, "a.tiff"), ("P", "B02", 1, "hoechst_33342", 1, "b.tiff"),
                             ("P", "D08", 3, "alexa_488", 0, "c.tiff")]
    assert found.facts == {"plate_format": 384, "magnification": 20.0, "pixel_size_um": 0.598}


def test_opera_phenix_names_what_the_index_promises_in_vain(tmp_path: Path) -> None:
    folder = files_in(tmp_path, "Images/a.tiff")
    (folder / "Images" / "Index.idx.xml").write_text(index_xml((2, 2, 1, 1, 1, "a.tiff"), (2, 3, 1, 1, 1, "gone.tiff")), encoding="utf-8")
    found = read_source(Source(folder=folder))
    assert [(item.rule, item.well, item.value) for item in found.findings] == [("image_missing", "B03", "gone.tiff")]


def test_opera_phenix_without_an_index_reads_the_names(tmp_path: Path) -> None:
    folder = files_in(tmp_path, "Images/r02c03f05p02-ch1sk1fk1fl1.tiff", "Images/r02c03f05p01-ch1sk1fk1fl1.tiff",
                      "Images/r02c03f05p01-ch10sk1fk1fl1.tiff", "Images/r02c02f01p01-ch1sk1fk1fl1.tiff")
    found = read_source(Source(folder=folder, plate="P", channels={"dna": "ch10", "er": "ch1"}))
    assert found.channels == ("dna", "er")
    assert [place[1:5] for place in places(found)] == [("B02", 1, "er", 0), ("B03", 5, "dna", 0), ("B03", 5, "er", 0), ("B03", 5, "er", 1)]
    with pytest.raises(InputError, match="channels found: ch1"):
        read_source(Source(folder=folder, channels={"dna": "ch9"}))


def test_several_measurements_are_plates_by_their_barcodes(tmp_path: Path) -> None:
    name = "Images/r02c02f01p01-ch1sk1fk1fl1.tiff"
    folder = files_in(tmp_path, f"BR1__2020-11-05T19_51_35-Measurement1/{name}", f"BR2__2020-11-06T19_51_35-Measurement1/{name}")
    assert sorted(read_source(Source(folder=folder)).files["plate"]) == ["BR1", "BR2"]
    found = read_source(Source(folder=files_in(folder, f"BR2__2020-11-07T19_51_35-Measurement2/{name}")))
    assert [(item.rule, item.severity) for item in found.findings] == [("measured_again", "warning")]
    assert "BR2__2020-11-06T19_51_35-Measurement1, BR2__2020-11-07T19_51_35-Measurement2" in found.findings[0].message


def test_plates_whose_channels_have_other_names_are_not_one_screen(tmp_path: Path) -> None:
    """The second plate's channels went by the names of the first: where they were exchanged, nuclei were read as cytoplasm."""
    index = index_xml((2, 2, 1, 1, 1, "r02c02f01p01-ch1sk1fk1fl1.tiff"), (2, 2, 1, 1, 2, "r02c02f01p01-ch2sk1fk1fl1.tiff"))
    opera = files_in(tmp_path / "opera", *(f"BR{plate}__x/Images/r02c02f01p01-ch{channel}sk1fk1fl1.tiff"
                                           for plate in (1, 2) for channel in (1, 2)))
    exchanged = index.replace("HOECHST 33342", "@").replace("Alexa 488", "HOECHST 33342").replace("@", "Alexa 488")
    imagexpress = files_in(tmp_path / "ix", "P1/x_A01_w1.tif", "P2/x_A01_w1.tif")
    voyager = files_in(tmp_path / "cv", "P1/a.tif", "P2/a.tif")
    for number, text in ((1, index), (2, exchanged)):
        (opera / f"BR{number}__x" / "Images" / "Index.idx.xml").write_text(text, encoding="utf-8")
        (imagexpress / f"P{number}" / "x.HTD").write_text(f'"WaveName1", "{("DAPI", "FITC")[number - 1]}"\n"XWells", 12\n"YWells", 8\n')
        (voyager / f"P{number}" / "MeasurementData.mlf").write_text(mlf(("IMG", 2, 2, 1, 1, 1, 1, "a.tif")), encoding="utf-8")
        (voyager / f"P{number}" / "MeasurementDetail.mrf").write_text(
            f'<bts:MeasurementDetail xmlns:bts="x"><bts:MeasurementChannel bts:Ch="1" bts:Fluorophore="dye {number}"/>'
            "</bts:MeasurementDetail>", encoding="utf-8")
    for folder, channel in ((opera, "ch1"), (imagexpress, "w1"), (voyager, "ch1")):
        (finding, *_) = [item for item in read_source(Source(folder=folder)).findings if item.rule == "plates_differ"]
        assert (finding.severity, finding.column) == ("error", channel)
    assert "HOECHST 33342 on plate BR1__x, and Alexa 488 on BR2__x" in read_source(Source(folder=opera)).findings[0].message
    assert not read_source(Source(folder=opera / "BR1__x", platemap=opera / "layout.csv")).findings


# --- CellVoyager -----------------------------------------------------------------------------------------------------------

def mlf(*records: tuple[str, int, int, int, int, int, int, str]) -> str:
    body = "".join(f'<bts:MeasurementRecord bts:Type="{kind}" bts:Column="{column}" bts:Row="{row}" bts:TimePoint="1" '
                   f'bts:FieldIndex="{field}" bts:ZIndex="{plane}" bts:ActionIndex="{action}" '
                   f'bts:Ch="{channel}">{name}</bts:MeasurementRecord>'
                   for kind, row, column, field, plane, action, channel, name in records)
    return f'<?xml version="1.0"?><bts:MeasurementData xmlns:bts="http://www.yokogawa.co.jp/BTS/BTSSchema/1.0">{body}</bts:MeasurementData>'


def test_cellvoyager_follows_its_list(tmp_path: Path) -> None:
    folder = files_in(tmp_path, "a.tif", "b.tif", "c.tif", "d.tif")
    (folder / "MeasurementData.mlf").write_text(mlf(
        ("IMG", 2, 2, 1, 1, 1, 1, "a.tif"), ("IMG", 2, 2, 1, 2, 1, 1, "b.tif"), ("IMG", 4, 8, 2, 1, 2, 1, "c.tif"),
        ("IMG", 4, 8, 2, 1, 3, 2, "d.tif"), ("ERR", 2, 3, 1, 1, 1, 1, "autofocus failed"),
        ("IMG", 2, 3, 1, 1, 1, 1, "gone.tif")), encoding="utf-8")
    found = read_source(Source(folder=folder, plate="P"))
    assert places(found) == [("P", "B02", 1, "ch1_a1", 0, "a.tif"), ("P", "B02", 1, "ch1_a1", 1, "b.tif"),
                             ("P", "D08", 2, "ch1_a2", 0, "c.tif"), ("P", "D08", 2, "ch2", 0, "d.tif")]
    assert [(item.rule, item.severity, item.well) for item in found.findings] == [
        ("acquisition_failed", "warning", "B03"), ("image_missing", "error", "B03")]


# --- XML -------------------------------------------------------------------------------------------------------------------

def test_xml_with_a_document_type_is_refused_before_any_entity_grows(tmp_path: Path) -> None:
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><bts><MeasurementRecord>&b;</MeasurementRecord></bts>'
    for name, text, words in (("bomb", bomb, "DOCTYPE"), ("broken", "<a><b></a>", "no readable XML"), ("empty", "", "no readable XML")):
        path = tmp_path / f"{name}.xml"
        path.write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match=words):
            list(xml_records(path, "MeasurementRecord"))


def test_xml_records_are_flat_and_know_no_namespace(tmp_path: Path) -> None:
    path = tmp_path / "x.xml"
    path.write_text('<n:r xmlns:n="u"><n:Item n:id="1"><Deep><Name>a</Name></Deep></n:Item><Other/><Item id="2">b</Item></n:r>',
                    encoding="utf-8")
    assert list(xml_records(path, "Item")) == [("Item", {"id": "1", "Name": "a"}), ("Item", {"id": "2", "": "b"})]






# --- plate archives --------------------------------------------------------------------------------------------------------

def test_plate_archives_come_back_with_what_their_screen_json_says(tmp_path: Path) -> None:
    for plate in ("P1", "P2"):
        write_plate(tmp_path / "images" / f"{plate}.zip", [
            (member_name("B02", channel=channel, plane=plane), np.full((8, 8), channel, np.uint8))
            for channel in (0, 1) for plane in (0, 1)])
    (tmp_path / "layout.csv").write_text(LAYOUT, encoding="utf-8")
    assert read_source(Source(folder=tmp_path)).channels == ("c0", "c1")
    (tmp_path / "screen.json").write_text('{"channels": ["dapi_mip", {"name": "dapi_mid"}], "sample": "X", "magnification": 20}')
    found = read_source(Source(folder=tmp_path))
    assert (found.convention, found.channels, found.facts) == ("archive", ("dapi_mip", "dapi_mid"), {"sample": "X", "magnification": 20})
    assert [place[:5] for place in places(found)][:2] == [("P1", "B02", 1, "dapi_mid", 0), ("P1", "B02", 1, "dapi_mid", 1)]
    assert len(found.files) == 8
    (tmp_path / "screen.json").write_text("[]")
    with pytest.raises(InputError, match=r"screen\.json"):
        read_source(Source(folder=tmp_path))


@pytest.mark.parametrize("convention", ["itrade", "imagexpress", "opera_phenix", "cellvoyager", "pattern"])
def test_without_need_of_a_layout_the_images_alone_are_read(tmp_path: Path, convention: str) -> None:
    made = {"itrade": lambda: itrade(tmp_path), "pattern": lambda: files_in(tmp_path, "B02.tif", layout=""),
            "imagexpress": lambda: files_in(tmp_path, "x.htd", "TimePoint_1/x_B02_s1_w1.TIF", layout=""),
            "opera_phenix": lambda: files_in(tmp_path, "r02c02f01p01-ch1sk1fk1fl1.tiff", layout=""),
            "cellvoyager": lambda: files_in(tmp_path, "a.tif", layout="")}
    folder = made[convention]()
    if convention == "cellvoyager":
        (folder / "MeasurementData.mlf").write_text(mlf(("IMG", 2, 2, 1, 1, 1, 1, "a.tif")), encoding="utf-8")
    shutil.rmtree(folder / "Layouts", ignore_errors=True)
    found = read_source(Source(folder=folder, layout=False))
    assert (found.convention, found.raw_layout.empty) == (convention, True)
    assert "B02" in set(found.files["well"])
    with pytest.raises(InputError, match="--platemap"):
        read_source(Source(folder=folder))


# --- iTRADE ----------------------------------------------------------------------------------------------------------------

ITRADE_LAYOUT = "Plate,Row,Column,WellType,Treatment,Concentration,Replicate\n" + "".join(
    f"{plate},B,{column},{role},{drug},{dose},1\n" for plate in (1, 2)
    for column, role, drug, dose in ((2, "neg", "DMSO", ""), (3, "therapy", "drug", 100)))


def itrade(folder: Path, *, screens: tuple[str, ...] = ("LINE_V1_DS1",)) -> Path:
    files_in(folder, *(f"Images/{screen}/{screen}_P{plate}_B0{column}_{kind}_224x224.tif" for screen in screens for plate in (1, 2)
                       for column in (2, 3) for kind in ("proj", "midz")), layout="")
    for part in ("Layouts", "Metabolic"):
        (folder / part).mkdir()
    (folder / "Layouts" / "Layout_DS.csv").write_text(ITRADE_LAYOUT, encoding="utf-8")
    (folder / "Layouts" / "Layout_CE.csv").write_text("Plate,Row,Column\n", encoding="utf-8")
    for plate in (1, 2):
        (folder / "Metabolic" / f"LINE_V1_DS1_{plate}.txt").write_text(f"\t01\t02\t03\nA\t0\t0\t0\nB\t0\t{plate}00\tNA\n", encoding="utf-8")
    return folder


def test_itrade_joins_images_layout_and_metabolic_readout(tmp_path: Path) -> None:
    found = read_source(Source(folder=itrade(tmp_path)))
    assert (found.convention, found.channels, len(found.files)) == ("itrade", ("hoechst_mip", "hoechst_mid"), 8)
    assert sorted(set(found.files["plate"])) == ["1", "2"]
    assert found.raw_layout["readout"].tolist() == ["100", "NA", "200", "NA"]
    assert any("nM" in line for line in found.said)
    assert found.findings == ()
    files_in(tmp_path, "Images/LINE_V1_DS1/LINE_V1_DS1_P1_B02_middle_224x224.tif", layout="")
    assert [item.value for item in read_source(Source(folder=tmp_path)).findings] == ["LINE_V1_DS1_P1_B02_middle_224x224.tif"]


def test_itrade_wants_one_screen_at_a_time(tmp_path: Path) -> None:
    folder = itrade(tmp_path, screens=("LINE_V1_DS1", "PAT_2_DS1"))
    with pytest.raises(InputError, match="2 screens: LINE_V1_DS1, PAT_2_DS1"):
        read_source(Source(folder=folder))
    found = read_source(Source(folder=folder / "Images" / "PAT_2_DS1"))
    assert len(found.files) == 8
    assert "readout" not in found.raw_layout


# --- real ones -------------------------------------------------------------------------------------------------------------

def real(name: str) -> Path:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there; set DOSEWELL_SHARED")
    return folder


@pytest.mark.shared
@pytest.mark.parametrize(("name", "wells", "convention", "channels", "images", "sites", "planes", "facts"), [
    ("faim/ImageXpress_exported/9987_Plate_3420", "B02", "imagexpress", ("dapi",), 1, 1, 1,
     {"plate_format": 96, "magnification": 40.0, "pixel_size_um": 1.3672}),
    ("faim/ImageXpress_exported/9987_Plate_3434", "B02 B03", "imagexpress", ("dapi", "fitc", "texas_red"), 24, 2, 2,
     {"plate_format": 96, "magnification": 40.0, "pixel_size_um": 1.3672}),
    ("faim/ImageXpress_exported/9987_Plate_3435", "B02 B03", "imagexpress", ("dapi", "fitc"), 8, 2, 1,
     {"plate_format": 96, "magnification": 40.0, "pixel_size_um": 1.3672}),
    ("faim/ImageXpress", "E07 E08", "imagexpress", ("w1",), 8, 2, 2, {"magnification": 20.0, "pixel_size_um": 1.3668}),
    ("faim/CV8000", "D08 E03 F08", "cellvoyager", ("ch1", "ch2"), 96, 4, 4,
     {"plate_format": 96, "magnification": 20.0, "pixel_size_um": 0.325}),
    ("opera_phenix", "A01", "opera_phenix", ("ch2", "ch3", "ch5"), 3, 1, 1, {}),
])
def test_real_folders_are_recognised_whole(tmp_path: Path, name: str, wells: str, convention: str, channels: tuple[str, ...], images: int,
                                           sites: int, planes: int, facts: dict[str, object]) -> None:
    layout = tmp_path / "layout.csv"
    layout.write_text("well,role,treatment,dose\n" + "".join(f"{well},treated,drug,5\n" for well in wells.split()), encoding="utf-8")
    found = read_source(Source(folder=real(name), platemap=layout, plate="P"))
    assert (found.convention, found.channels, len(found.files), found.facts) == (convention, channels, images, facts)
    assert (found.files["site"].nunique(), found.files["plane"].nunique()) == (sites, planes)
    assert sorted(set(found.files["well"])) == wells.split()
    assert not found.files.duplicated(["plate", "well", "site", "channel", "plane"]).any()
    assert {item.severity for item in found.findings} <= {"warning"}
