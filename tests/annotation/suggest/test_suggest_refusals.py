"""Bad input to ``suggest``: what is wrong is said, and nothing is lost."""

import shutil

import numpy as np
import pytest
import SimpleITK
from sparse_dataset import LABELS, without_labels
from tiny_training import DATASET, PLANS, RESIDUAL_PLANS, make_trainer

from nnunet_pix2rep.annotation.suggest.features import checkpoint
from nnunet_pix2rep.annotation.suggest.output import write
from nnunet_pix2rep.annotation.suggest.request import Click, SuggestSettings
from nnunet_pix2rep.annotation.suggest.run import suggest
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json, write_json
from nnunet_pix2rep.nnunet.training.pretraining.pix2rep import nnUNetTrainerPix2RepV2Pretrain


def run(output, configuration="2d", plans=PLANS, **settings):
    return suggest(DATASET, configuration, plans, output, SuggestSettings(**{"budget": 4} | settings))[0]


def content_of(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("budget", [0, -1, 65, 10**6])
def test_a_budget_that_is_not_there(sparse, tmp_path, budget):
    with pytest.raises(UserError, match=r"--slices must be from 1 to 64"):
        run(tmp_path / "work", budget=budget)
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize("unit", ["slices", "cases"])
def test_nothing_left_to_annotate(own_sparse, tmp_path, unit):
    for record in (own_sparse / "nnUNet_preprocessed" / DATASET).glob("*_unlabeled.json"):
        record.unlink()
        shutil.rmtree(record.with_suffix(""))
    for file in (own_sparse / "nnUNet_raw" / DATASET / "labelsTr").iterdir():
        label = SimpleITK.ReadImage(str(file))
        SimpleITK.WriteImage(SimpleITK.ChangeLabel(label, {LABELS["ignore"]: 0}), str(file))
    with pytest.raises(UserError, match=r"are annotated already \(6 scans\)"):
        run(tmp_path / "work", unit=unit)


def test_weights_of_other_plans(sparse, tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "results"))
    folder = sparse / "nnUNet_preprocessed" / DATASET
    trainer = make_trainer(nnUNetTrainerPix2RepV2Pretrain, folder, "all", plans_name=RESIDUAL_PLANS)
    trainer.initialize()
    file = tmp_path / "foreign.pth"
    trainer.save_checkpoint(str(file))
    with pytest.raises(UserError, match=r"foreign\.pth is of other plans \(TinyResidualPlans, another architecture\)"):
        run(tmp_path / "work", checkpoint=file)
    (other,) = (sparse / "nnUNet_results" / DATASET).glob("*__3d_fullres/fold_all/checkpoint_final.pth")
    with pytest.raises(UserError, match=r"of other plans .* patch_size"):
        run(tmp_path / "work", checkpoint=other)


def test_no_pretraining(sparse, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "nnUNet_results", Unset(tmp_path / "none"))
    with pytest.raises(UserError, match=r"no finished pretraining .*--checkpoint"):
        run(tmp_path / "work", selector="coverage")


def test_without_a_pretraining_the_default_still_chooses(sparse, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "nnUNet_results", Unset(tmp_path / "none"))
    suggestion = run(tmp_path / "work")
    assert (len(suggestion.slices), suggestion.features) == (4, None)


class Unset:
    """Stands for the results folder, which nnU-Net reads when it is imported."""

    def __init__(self, path):
        self.path = path

    def is_set(self):
        return True

    def __fspath__(self):
        return str(self.path)


@pytest.mark.parametrize(
    ("click", "message"),
    [
        (Click("scan_00", (32, 5, 5)), r"--like scan_00:32,5,5 lies outside of the image, which has \(32, 32, 12\)"),
        (Click("scan_00", (5, 5, -1)), "lies outside"),
        (Click("scan_00", (5, 5, 1)), "empty margin"),
        (Click("scan_77", (5, 5, 5)), r"--like scan_77: there is no such scan.*case_00"),
    ],
)
def test_a_click_that_hits_nothing(sparse, tmp_path, click, message):
    with pytest.raises(UserError, match=message):
        run(tmp_path / "work", click=click)
    assert not (tmp_path / "work").exists()


def test_contradictory_or_unfounded_weights(own_sparse, tmp_path):
    with pytest.raises(UserError, match="give one of them"):
        run(tmp_path / "work", click=Click("scan_00", (5, 5, 5)), weighting="centre")
    without_labels(own_sparse)
    with pytest.raises(UserError, match="--weigh structure needs a click"):
        run(tmp_path / "work", weighting="structure")
    with pytest.raises(UserError, match="--draft needs annotated slices"):
        run(tmp_path / "work", draft=True)


def test_labels_that_were_drawn_in_are_never_replaced(sparse, work):
    case = run(work).slices[0].case
    file = work / "labels" / f"{case}.nii.gz"
    image = SimpleITK.ReadImage(str(file))
    image[3, 3, 3] = 1
    SimpleITK.WriteImage(image, str(file))
    before = content_of(work)
    with pytest.raises(UserError, match=rf"(?s)labels/{case}\.nii\.gz was changed.*collect"):
        run(work, budget=5)
    assert content_of(work) == before


def test_what_is_saved_while_the_command_runs_is_not_removed(sparse, work, monkeypatch):
    """Features may take hours: an annotator who saves meanwhile loses nothing."""
    run(work)
    before, saved = content_of(work), work / "images" / "Segmentation.nrrd"
    monkeypatch.setattr(write, "write_overview", lambda *_, **__: saved.write_bytes(b"drawn"))
    with pytest.raises(UserError, match=r"(?s)Nothing was removed.*images/Segmentation\.nrrd was added"):
        run(work, budget=5)
    assert content_of(work) == before | {saved: b"drawn"}


def test_a_suggestion_that_nobody_has_drawn_in_is_replaced(sparse, work):
    run(work, budget=8)
    suggestion = run(work, budget=3)
    assert len(list((work / "labels").iterdir())) == len(suggestion.chosen())
    assert len(list((work / "images").iterdir())) == len(suggestion.chosen())
    assert not [path.name for path in work.iterdir() if path.name.startswith(".incomplete")]


def test_a_folder_with_other_files_is_left_alone(sparse, tmp_path):
    (tmp_path / "letters.txt").write_text("mine")
    with pytest.raises(UserError, match=r"letters\.txt"):
        run(tmp_path)
    with pytest.raises(UserError, match="is a file"):
        run(tmp_path / "letters.txt")


def features_of_a_user(folder):
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "scan_00_features.npz", features=np.ones((2, 1, 4, 4), np.float16), spacing=np.ones(3))


@pytest.mark.parametrize("suggested_before", [True, False])
def test_features_that_somebody_saved_there_are_left_alone(sparse, tmp_path, work, suggested_before):
    """As ``nnunet_pix2rep features --raw npz -o .../features`` does."""
    folder = work if suggested_before else tmp_path / "other"
    features_of_a_user(folder / "features")
    before = content_of(folder)
    with pytest.raises(UserError, match=r"features/scan_00_features\.npz was not written by suggest.*another folder"):
        run(folder, seed=1)
    assert content_of(folder) == before


def test_settings_of_something_else_and_a_damaged_file_are_named(sparse, work):
    file = next((work / "features").glob("*.npz"))
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=rf"{file.name} was not written by suggest, or is damaged"):
        run(work)
    file.write_bytes(content)
    write_json({"mine": 1}, work / "features" / "settings.json")
    with pytest.raises(UserError, match=r"settings\.json was not written by suggest"):
        run(work)
    assert read_json(work / "features" / "settings.json") == {"mine": 1}


def test_a_dataset_without_ignore_label(own_sparse, tmp_path):
    file = own_sparse / "nnUNet_raw" / DATASET / "dataset.json"
    content = read_json(file)
    del content["labels"]["ignore"]
    write_json(content, file)
    with pytest.raises(UserError, match='"ignore": 3'):
        run(tmp_path / "work")


def test_an_unknown_fold(sparse, tmp_path):
    with pytest.raises(UserError, match="Fold 7 does not exist"):
        run(tmp_path / "work", fold=7)


def test_a_raw_image_that_is_gone(own_sparse, tmp_path):
    file = own_sparse / "nnUNet_raw" / DATASET / "imagesUn" / "scan_02_0000.nii.gz"
    file.rename(tmp_path / file.name)
    with pytest.raises(UserError, match=r"scan_02_0000\.nii\.gz is gone"):
        run(tmp_path / "work")
