"""Prototypes as a table, a picture and an archive."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pandas as pd
from PIL import Image

from kmex_core.analysis import export as report
from kmex_core.analysis.tables.prototypes import prototype_table
from kmex_core.base.store import Store
from kmex_core.models.info import ModelInfo
from kmex_core.prototypes.source import KMeans
from kmex_core.stages.subject import Subject, dataset_of


def test_prototypes_as_files(demo: Store, digits: ModelInfo) -> None:
    data = dataset_of(digits)
    prototypes = Subject(demo, digits, data).conversion(KMeans(5)).get().prototypes
    table = prototype_table(prototypes, digits.class_names)
    assert table["class"].tolist() == [name for name in digits.class_names for _ in range(5)]
    assert table["number"].tolist() == [0, 1, 2, 3, 4] * 10
    assert table["training_images"].sum() + table["other_classes"].sum() == 1297
    with zipfile.ZipFile(io.BytesIO(report.prototype_archive(prototypes, digits.class_names, data))) as archive:
        assert archive.testzip() is None
        assert len(archive.namelist()) == 51
        kept = pd.read_csv(archive.open("prototypes.csv"), dtype={"class": str})
        pd.testing.assert_frame_equal(kept, table, check_dtype=False)
        picture = np.asarray(Image.open(archive.open("prototype-7.png")))
        np.testing.assert_array_equal(picture, data.split("train").image(int(prototypes.exemplar[7])))
    sheet = Image.open(io.BytesIO(report.prototype_sheet(prototypes, ("0" * 40, *"12345678", "ж"), data)))
    assert sheet.size == (6 * 104, 10 * 124)
    assert np.asarray(sheet)[0:96, 104:200].max() == 255
