"""What is wrong with a folder of pictures, before a training finds out."""

from data.finding import (
    HARMS,
    LOOK,
    STOPS,
    Finding,
    by_severity,
    plural,
    printable,
    shown_name,
)
from data.inspection.alignment import PairFits, alignment_findings, coloured_labels, measure_fits
from data.inspection.domains import MEASURES, Summary, domain_findings, summaries
from data.inspection.duplicates import duplicates, look_alikes
from data.inspection.files import file_findings
from data.inspection.label_maps import LabelClass, classes, label_findings
from data.inspection.layout import Group, Layout, Wanted, find_layout
from data.inspection.near import near_pairs
from data.inspection.outliers import outlier_findings
from data.inspection.picture import small_rgb
from data.inspection.survey import Survey, survey

__all__ = [
    "HARMS",
    "LOOK",
    "MEASURES",
    "STOPS",
    "Finding",
    "Group",
    "LabelClass",
    "Layout",
    "PairFits",
    "Summary",
    "Survey",
    "Wanted",
    "alignment_findings",
    "by_severity",
    "classes",
    "coloured_labels",
    "domain_findings",
    "duplicates",
    "file_findings",
    "find_layout",
    "label_findings",
    "look_alikes",
    "measure_fits",
    "near_pairs",
    "outlier_findings",
    "plural",
    "printable",
    "shown_name",
    "small_rgb",
    "summaries",
    "survey",
]
