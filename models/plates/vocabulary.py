"""The words that labs use for the columns, roles and units of a layout, and what they mean here."""

from __future__ import annotations

import re
import unicodedata

import pandas as pd

COLUMN_WORDS: dict[str, tuple[str, ...]] = {
    "plate": ("plate", "plateid", "platename", "platenumber", "plateno", "barcode", "platebarcode", "assayplate", "upid", "platte",
              "plaque", "板", "板号"),
    "well": ("well", "wellid", "wellname", "wellposition", "position", "wells", "kavitat", "kavitaet", "puits", "孔", "孔位",
             "孔号"),
    "row": ("row", "wellrow", "platerow", "zeile", "ligne", "行"),
    "column": ("column", "col", "wellcolumn", "wellcol", "platecolumn", "spalte", "colonne", "列"),
    "role": ("role", "welltype", "type", "wellrole", "controltype", "control", "contenttype", "rolle", "typ", "roles", "类型", "角色"),
    "treatment": ("treatment", "compound", "drug", "cpd", "cmpd", "compoundname", "drugname", "treatmentname", "substance", "therapy",
                  "compoundid", "drugid", "perturbation", "pertiname", "broadsample", "agent", "treatment1",
                  "compound1", "drug1", "treatmenta", "compounda", "druga", "substanz", "wirkstoff", "verbindung", "behandlung", "compose",
                  "traitement", "treatments", "compounds", "drugs", "化合物", "药物", "处理"),
    "dose": ("dose", "concentration", "conc", "finalconcentration", "finalconc", "dosage", "drugconcentration",
             "mmoles", "dose1", "concentration1", "conc1", "drug1conc", "dosea", "concentrationa", "conca", "dosis", "konzentration",
             "konz", "doses", "concentrations", "浓度", "剂量"),
    "dose_unit": ("doseunit", "unit", "units", "concentrationunit", "concunit", "doseunits", "concentrationunits", "doseunit1", "unit1",
                  "drug1units", "doseunita", "unita", "einheit", "unite", "单位"),
    "replicate": ("replicate", "rep", "repl", "replicateno", "replicatenumber", "replikat", "replicat", "重复"),
    "treatment_2": ("treatment2", "compound2", "drug2", "addon", "combination", "secondtreatment", "treatmentb", "compoundb", "drugb"),
    "dose_2": ("dose2", "concentration2", "conc2", "drug2conc", "doseb", "concentrationb", "concb"),
    "dose_unit_2": ("doseunit2", "unit2", "concunit2", "concentrationunit2", "drug2units", "doseunitb", "unitb"),
    "readout": ("readout", "od", "od450", "absorbance", "luminescence", "rlu", "fluorescence", "rfu", "celltiterglo", "ctg", "signal",
                "reading", "readoutvalue", "wellsignal", "rawdata", "measurement", "messwert", "extinktion", "absorption",
                "lumineszenz", "fluoreszenz", "mesure", "读数"),
    "excluded": ("excluded", "exclude", "masked"),
    "exclusion_reason": ("exclusionreason", "excludedreason", "reasonforexclusion"),
}

CONDITION_WORDS = ("cellline", "celltype", "cell", "patient", "patientid", "donor", "donorid", "celllinename", "clid", "screenname",
                   "timepoint", "time(h)", "time[h]", "timeh", "hours", "zelllinie", "patientennr", "zeitpunkt", "lignee",
                   "ligneecellulaire", "细胞系", "患者", "时间")
SAMPLE_WORDS = ("sample", "sampleid", "samplename", "time", "hour", "zeit")     # as much, or a number or clock of each well
# columns that are read for this alone: what differs in them is no replicate

ROLE_WORDS: dict[str, tuple[str, ...]] = {
    "negative": ("negative", "neg", "nc", "negativecontrol", "negcontrol", "negctrl", "negctl", "dmso", "vehicle",
                 "vehiclecontrol", "solvent", "solventcontrol", "negcon", "livingcontrol", "negativ",
                 "negativkontrolle", "losungsmittel",
                 "negatif", "temoinnegatif", "controlenegatif", "solvant", "vehicule", "阴性", "阴性对照", "溶剂对照"),
    "positive": ("positive", "pos", "pc", "positivecontrol", "poscontrol", "posctrl", "posctl", "kill", "killcontrol",
                 "poscon", "deadcontrol", "maxinhibition", "positiv",
                 "positivkontrolle", "positif", "temoinpositif", "controlepositif", "阳性", "阳性对照"),
    "reference": ("reference", "ref", "trc", "sts", "bzcl", "therapycontrol", "referencecontrol", "referencecompound",
                  "standard"),
    "treated": ("treated", "therapy", "sample", "drug", "compound", "cpd", "cmpd", "treatment", "test", "trt", "testcompound",
                "behandelt", "probe", "substanz", "wirkstoff", "traite", "echantillon", "样品", "给药"),
    "untreated": ("untreated", "untreatedcontrol", "notreatment", "cellsonly", "mediumcells", "unbehandelt", "nontraite", "未处理"),
    "empty": ("empty", "blank", "unused", "border", "mediaonly", "mediumonly", "nocells",
              "background", "leer", "leerwert", "vide", "blanc", "空", "空白"),
}

UNCLEAR_ROLES = ("medium", "media", "mediumcontrol", "mediacontrol")     # wells without cells in one lab, untreated cells in another

MOLAR = {"M": 1e9, "mM": 1e6, "uM": 1e3, "nM": 1.0, "pM": 1e-3}  # in nM

_MOLAR_WORDS = {"m": "M", "mol/l": "M", "molar": "M", "mm": "mM", "mmol/l": "mM", "millimolar": "mM",
                "um": "uM", "umol/l": "uM", "micromolar": "uM", "mcm": "uM",
                "nm": "nM", "nmol/l": "nM", "nanomolar": "nM",
                "pm": "pM", "pmol/l": "pM", "picomolar": "pM"}
_OTHER_WORDS = {"%": "%", "percent": "%", "%v/v": "% v/v", "%(v/v)": "% v/v", "%w/v": "% w/v", "%(w/v)": "% w/v",
                "g/l": "mg/mL", "mg/l": "ug/mL", "ug/l": "ng/mL", "g/ml": "g/mL", "mg/ml": "mg/mL", "ug/ml": "ug/mL",
                "mcg/ml": "ug/mL", "ng/ml": "ng/mL", "pg/ml": "pg/mL", "iu/ml": "IU/mL", "u/ml": "U/mL", "x": "x",
                "gy": "Gy", "mg/kg": "mg/kg", "particles/ml": "particles/mL"}

KNOWN_UNITS = ("nM", "uM", "mM", "M", "pM", *dict.fromkeys(_OTHER_WORDS.values()))

_COLUMN_OF = {word: name for name, words in COLUMN_WORDS.items() for word in words}
_ROLE_OF = {word: role for role, words in ROLE_WORDS.items() for word in words}
_FULL_WIDTH = str.maketrans("（）［］", "()[]")      # as a Chinese or Japanese keyboard writes brackets
_HEADER_UNIT = re.compile(r"(?:[\[(](?P<in>[^\[(\])]{1,40})[\])]|[_ ](?P<after>[munpµμ]?M)|(?<=mmoles)_per_liter)$")
_SPELT_OUT = "mM"       # platemaps of the Broad Institute call a dose mmoles_per_liter
METADATA = "Metadata_"  # before the columns of a profile that are no features (pycytominer)


def plain(text: str) -> str:
    """Lower case without blanks, marks and accents: "Well Type" -> "welltype", "Témoin négatif" -> "temoinnegatif"."""
    letters = "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    return re.sub(r"[\s_.\-:#*]+", "", letters.lower())


def canonical_column(header: str) -> tuple[str, str]:
    """(column of the contract or "", unit of a dose that the header names or ""): "Conc. [µM]" -> ("dose", "uM").

    What stands in a dose's brackets and is no unit is given as it stands: "Dose (log M)" -> ("dose", "log M").
    """
    header = header.translate(_FULL_WIDTH).strip().removeprefix(METADATA)
    if plain(header) in _COLUMN_OF:
        return _COLUMN_OF[plain(header)], ""
    name, unit = _COLUMN_OF.get(plain(_HEADER_UNIT.sub("", header)), ""), header_unit(header)
    return name, unit if name in ("dose", "dose_2") else ""


def header_unit(header: str) -> str:
    """What stands in a header's brackets or behind its name as a unit, or "": "Conc. [µM]" -> "uM", "Dose (log M)" -> "log M"."""
    match = _HEADER_UNIT.search(header.translate(_FULL_WIDTH).strip())
    unit = match["in"] or match["after"] or _SPELT_OUT if match else ""
    return canonical_unit(unit) or unit


def named_pairs(text: str) -> dict[str, str]:
    """ "dose=Conc, nM,well=Position" -> {"dose": "Conc, nM", "well": "Position"}: a comma parts only where name= follows.

    Raises ValueError.
    """
    pairs = [part.partition("=") for part in re.split(r",(?=[^,=]*=)", text.strip(" ,"))]
    found = {name.strip(): value.strip() for name, _, value in pairs}
    if not all(name and value for name, value in found.items()) or len(found) < len(pairs):
        raise ValueError(f"expected name=value,name=value, each name once, got {text!r}")
    return found


def contract_columns(table: pd.DataFrame) -> dict[str, str]:
    """Column of the contract -> the first column of the table that means it; under "" one that means none."""
    return {canonical_column(str(name))[0]: str(name) for name in reversed(table.columns)}


def canonical_role(text: str) -> str:
    """The role that a word stands for, or ""."""
    word = plain(text)
    return _ROLE_OF.get(word) or _ROLE_OF.get(word.removesuffix("well").removesuffix("wells"), "")


def canonical_unit(text: str) -> str:
    """One spelling per unit ("µM", "umol/l" -> "uM"), or "" for a word that is no known unit."""
    word = text.strip().replace("µ", "u").replace("μ", "u").replace(" ", "")
    if word in MOLAR:
        return word
    if word == "MM":  # millimolar or megamolar's typo: a factor of a thousand hangs on it
        return ""
    return _MOLAR_WORDS.get(word.lower()) or _OTHER_WORDS.get(word.lower(), "")
