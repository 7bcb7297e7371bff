import shutil

import numpy as np
import pytest
import SimpleITK
import torch
from in_context_folders import make_folders, raw_of

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json
from nnunet_pix2rep.nnunet.checkpoints.files import load_checkpoint_file, save_checkpoint_file
from nnunet_pix2rep.nnunet.in_context.classifier import InContextSettings, logits_of_shares, refine
from nnunet_pix2rep.nnunet.in_context.segment_folder import segment_in_context

SETTINGS = {"k": 5, "max_support": 4000}


def read(path):
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))


def dice(first, second):
    return 2 * (first & second).sum() / (first.sum() + second.sum())


def rewrite(path, change):
    """Replaces a linked file by a changed copy of its own."""
    image = SimpleITK.ReadImage(str(path))
    path.unlink()
    SimpleITK.WriteImage(change(image), str(path))


def segment(model, folders, **options):
    settings = {name: options.pop(name) for name in list(options) if name in InContextSettings.__dataclass_fields__}
    names = ("images", "labels", "query", "output")
    return segment_in_context(
        model, *(folders[name] for name in names), InContextSettings(**SETTINGS | settings), **options
    )


@pytest.mark.parametrize("configuration", ["2d", "3d"])
def test_what_stands_out_in_the_images_is_found_in_the_original_geometry(
    configuration, pretraining, pretraining_3d, load, tiny_dataset, folders
):
    """Even untrained features tell the rings of the tiny dataset by their brightness."""
    for image in list(folders["query"].iterdir()):
        rewrite(image, placed)
    written = segment(load(pretraining if configuration == "2d" else pretraining_3d, "hypercolumn"), folders)
    assert written.segmented == ["case_04"]
    result = SimpleITK.ReadImage(str(folders["output"] / "case_04.nii.gz"))
    image = SimpleITK.ReadImage(str(folders["query"] / "case_04_0000.nii.gz"))
    for geometry in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(result, geometry)() == pytest.approx(getattr(image, geometry)())
    truth = read(raw_of(tiny_dataset) / "labelsTr" / "case_04.nii.gz")
    assert dice(SimpleITK.GetArrayFromImage(result) > 0, truth > 0) > 0.6


def placed(image):
    """The same voxels elsewhere in space."""
    image.SetOrigin((5, -7, 11))
    image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    return image


def test_the_output_can_be_evaluated_and_says_how_it_was_made(pretraining, load, folders):
    written = segment(load(pretraining), folders, save_probabilities=True)
    names = {path.name for path in folders["output"].iterdir()}
    assert names == {"case_04.nii.gz", "case_04.npz", "case_04.pkl", "in_context.json", "dataset.json", "plans.json"}
    record = read_json(folders["output"] / "in_context.json")
    assert record["features"] == "projected"
    assert list(record["support_labels"]) == ["case_00", "case_01"]
    assert record["k"] == 5
    probabilities = np.load(folders["output"] / "case_04.npz")["probabilities"]
    np.testing.assert_allclose(probabilities.sum(axis=0), 1, atol=1e-5)
    assert np.array_equal(probabilities.argmax(axis=0), read(folders["output"] / "case_04.nii.gz"))
    assert any("label 2: " in note for note in written.notes)


def test_what_is_there_is_skipped_and_not_mixed_with_other_settings(pretraining, load, folders):
    model = load(pretraining)
    segment(model, folders)
    path = folders["output"] / "case_04.nii.gz"
    SimpleITK.WriteImage(SimpleITK.Image(2, 2, 2, SimpleITK.sitkUInt8), str(path))
    written = segment(model, folders)
    assert (written.segmented, written.skipped) == ([], ["case_04"])
    assert read(path).shape == (2, 2, 2)
    with pytest.raises(UserError, match=r"other settings: k was 5 and is now 3.*--overwrite"):
        segment(model, folders, k=3)
    assert segment(model, folders, k=3, overwrite=True).segmented == ["case_04"]
    assert read(path).shape == (12, 32, 32)


def test_an_interrupted_image_leaves_no_file(pretraining, load, folders, monkeypatch):
    def fail(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr("nnunet_pix2rep.nnunet.in_context.segment_folder.export", fail)
    with pytest.raises(KeyboardInterrupt):
        segment(load(pretraining), folders)
    assert not [path.name for path in folders["output"].iterdir() if path.name.startswith((".", "case"))]


def test_the_same_seed_gives_the_same_segmentation_and_only_chosen_cases_are_support(pretraining, load, folders):
    model = load(pretraining)
    results = []
    for name in ("first", "second"):
        folders["output"] = folders["output"].with_name(name)
        segment(model, folders, max_support=300, support_cases=["case_01"])
        results.append(read(folders["output"] / "case_04.nii.gz"))
    assert np.array_equal(*results)
    assert list(read_json(folders["output"] / "in_context.json")["support_labels"]) == ["case_01"]


def test_images_that_the_pretraining_has_seen_are_named(pretraining, load, folders, tmp_path):
    checkpoint = load_checkpoint_file(pretraining)
    checkpoint["pix2rep"]["cases"] = ["case_04"]
    save_checkpoint_file(checkpoint, tmp_path / "seen.pth")
    assert any("transductive" in note for note in segment(load(tmp_path / "seen.pth"), folders).notes)


def test_regions_and_several_channels(region_pretraining, load, tmp_path):
    checkpoint, preprocessed = region_pretraining
    folders = make_folders(raw_of(preprocessed), tmp_path)
    segment(load(checkpoint, "hypercolumn"), folders)
    truth = read(raw_of(preprocessed) / "labelsTr" / "case_04.nii.gz")
    found = read(folders["output"] / "case_04.nii.gz")
    assert dice(found > 0, truth > 0) > 0.6
    assert dice(found == 2, truth == 2) > 0.4


def test_nnunet_turns_the_logits_into_the_shares(region_pretraining, pretraining, load):
    shares = torch.rand(3, 2, 4, 4, generator=torch.Generator().manual_seed(0)) + 0.01
    shares /= shares.sum(dim=0)
    manager = load(pretraining).label_manager
    torch.testing.assert_close(manager.apply_inference_nonlin(logits_of_shares(shares, manager)), shares)
    manager = load(region_pretraining[0]).label_manager
    expected = torch.stack([shares[1] + shares[2], shares[2]])  # the regions "whole" and "core"
    torch.testing.assert_close(manager.apply_inference_nonlin(logits_of_shares(shares, manager)), expected)


def test_refinement_keeps_the_largest_component_of_each_class(pretraining, load):
    segmentation = np.zeros((1, 20, 20), dtype=np.uint8)
    segmentation[0, 2:10, 2:10], segmentation[0, 4:6, 4:6], segmentation[0, 8, 8] = 1, 2, 2
    segmentation[0, 15:17, 15:17] = 1
    refined = refine(segmentation, load(pretraining).label_manager)
    assert not refined[0, 15:17, 15:17].any()
    assert refined[0, 8, 8] == 0
    assert (refined == 2).sum() == 4


def test_refined_files_have_one_component(pretraining, load, folders):
    segment(load(pretraining), folders, refine=True)
    found = SimpleITK.ReadImage(str(folders["output"] / "case_04.nii.gz"))
    components = SimpleITK.GetArrayFromImage(SimpleITK.ConnectedComponent(found == 2, True))
    assert components.max() <= 1


# ------------------------------------------------------------------------------------------------------------ bad input


def test_an_empty_and_a_missing_folder_are_named(pretraining, load, folders):
    model = load(pretraining)
    shutil.rmtree(folders["query"])
    with pytest.raises(UserError, match="query is not a folder"):
        segment(model, folders)
    folders["query"].mkdir()
    with pytest.raises(UserError, match=r"query holds no images to segment.*_0000\.nii\.gz"):
        segment(model, folders)
    shutil.rmtree(folders["labels"])
    folders["labels"].mkdir()
    with pytest.raises(UserError, match="labels holds no label"):
        segment(model, folders)


def test_a_label_without_image_is_named_and_an_image_without_label_left_out(pretraining, load, folders):
    (folders["images"] / "case_01_0000.nii.gz").unlink()
    with pytest.raises(UserError, match=r"labels without an image.*case_01"):
        segment(load(pretraining), folders)
    (folders["labels"] / "case_01.nii.gz").unlink()
    assert segment(load(pretraining), folders).segmented == ["case_04"]
    with pytest.raises(UserError, match=r"no label of the support case.*case_07"):
        segment(load(pretraining), folders, support_cases=["case_07"])


def test_other_channels_than_the_checkpoint_wants_are_refused(pretraining, region_pretraining, load, folders):
    with pytest.raises(UserError, match=r"case_00: it has 1 channel.*wants 2"):
        segment(load(region_pretraining[0]), folders)
    image = folders["query"] / "case_04_0000.nii.gz"
    shutil.copy(image, folders["query"] / "case_04_0001.nii.gz")
    with pytest.raises(UserError, match=r"case_04: it has 2 channel.*wants 1"):
        segment(load(pretraining), folders)


def test_labels_that_the_dataset_does_not_know_are_refused(pretraining, load, folders):
    rewrite(folders["labels"] / "case_00.nii.gz", lambda labels: labels * 7)
    with pytest.raises(UserError, match=r"case_00\.nii\.gz has the value\(s\) 7, 14.*knows only 0, 1, 2"):
        segment(load(pretraining), folders)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda labels: labels[:, :, 1:], "its size is"),
        (lambda labels: scaled(labels), "its spacing is"),
        (placed, r"its (origin|direction) is"),
    ],
    ids=["size", "spacing", "place"],
)
def test_labels_on_another_grid_than_their_image_are_refused(change, message, pretraining, load, folders):
    rewrite(folders["labels"] / "case_00.nii.gz", change)
    with pytest.raises(UserError, match=f"case_00: {message}.*on the grid of their image"):
        segment(load(pretraining), folders)


def scaled(image):
    image.SetSpacing((1.5, 1, 1))
    return image


def test_a_damaged_image_is_named(pretraining, load, folders):
    image = folders["query"] / "case_04_0000.nii.gz"
    content = image.read_bytes()
    image.unlink()
    image.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=r"case_04_0000\.nii\.gz: it is truncated"):
        segment(load(pretraining), folders)


@pytest.mark.parametrize("settings", [{"k": 0}, {"temperature": 0}, {"max_support": 1}, {"tile_step_size": 2}])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(UserError, match=f"-{next(iter(settings)).replace('_', '-')} must be from"):
        InContextSettings(**settings)


def test_images_are_not_overwritten(pretraining, load, folders):
    folders["output"] = folders["query"]
    with pytest.raises(UserError, match="choose another one"):
        segment(load(pretraining), folders)
