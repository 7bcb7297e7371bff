import shutil

import pytest
from tiny_training import CASES, PLANS, make_tiny_dataset, prepare_for_training
from work_folders import IGNORE_LABELS, Scans

from nnunet_pix2rep.files import read_json, write_json
from nnunet_pix2rep.nnunet.unlabeled.preprocess import preprocess_unlabeled


@pytest.fixture(scope="session")
def scans_template(tmp_path_factory):
    """The tiny dataset with nothing annotated: all scans in imagesUn, preprocessed as unlabeled images."""
    root = tmp_path_factory.mktemp("scans") / "root"
    preprocessed = make_tiny_dataset(root, labels=IGNORE_LABELS, configurations=("2d", "3d_fullres"))
    raw = root / "nnUNet_raw" / preprocessed.name
    (raw / "imagesTr").rename(raw / "imagesUn")
    (raw / "labelsTr").rename(root / "truth")
    (raw / "imagesTr").mkdir()
    (preprocessed / "splits_final.json").unlink()
    for folder in ("gt_segmentations", f"{PLANS}_2d", f"{PLANS}_3d_fullres"):
        shutil.rmtree(preprocessed / folder)
    for folder in (raw, preprocessed):
        write_json(read_json(folder / "dataset.json") | {"numTraining": 0}, folder / "dataset.json")
    placeholder = raw / "imagesTr" / "labeled_0000.nii.gz"  # preprocess_unlabeled wants a labeled case
    placeholder.touch()
    with pytest.MonkeyPatch.context() as patch:
        prepare_for_training(patch, preprocessed, root)
        for configuration in ("2d", "3d_fullres"):
            report = preprocess_unlabeled(preprocessed.name, configuration, PLANS, num_processes=1)
            assert report.num_made == len(CASES)
    placeholder.unlink()
    return root


@pytest.fixture
def scans(scans_template, tmp_path, monkeypatch):
    """A copy of one's own."""
    root = tmp_path / "root"
    shutil.copytree(scans_template, root)
    for record in (root / "nnUNet_preprocessed").glob("*/*_unlabeled.json"):
        text = record.read_text().replace(str(scans_template), str(root))
        record.write_text(text)
    made = Scans(root)
    prepare_for_training(monkeypatch, made.preprocessed, root)
    return made
