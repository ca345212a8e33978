"""The small real data sets of the book, read from the package itself: no download, no network.

Labels are integer class ids; binary problems also give `signs`, -1 and +1. Sources and licences: `LICENCES`. Chapter: data.
"""

from lossbook.book.data._scenes import Scenes, digit_scenes
from lossbook.book.data._tables import (
    LICENCES,
    Grouped,
    Images,
    Instances,
    Tabular,
    Texts,
    adult,
    breast_cancer,
    digits,
    german,
    nuclei,
    sms_spam,
    standardize,
)

__all__ = [
    "LICENCES",
    "Grouped",
    "Images",
    "Instances",
    "Scenes",
    "Tabular",
    "Texts",
    "adult",
    "breast_cancer",
    "digit_scenes",
    "digits",
    "german",
    "nuclei",
    "sms_spam",
    "standardize",
]
