"""What stands in the output folder is what the present settings and files give, and nothing else."""

import shutil

import pytest
import SimpleITK
from full_disk import no_file_beyond
from in_context_folders import raw_of

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json, write_json
from nnunet_pix2rep.nnunet.in_context import classifier, segment_folder
from nnunet_pix2rep.nnunet.in_context.classifier import InContextSettings
from nnunet_pix2rep.nnunet.in_context.segment_folder import segment_in_context


def segment(model, folders, k=5, refine=False, **options):
    names = ("images", "labels", "query", "output")
    return segment_in_context(
        model, *(folders[name] for name in names), InContextSettings(k=k, max_support=4000, refine=refine), **options
    )


@pytest.mark.parametrize("name", ["dataset.json", "plans.json", "case_04.nii.gz"])
def test_files_of_others_are_neither_results_nor_overwritten(name, pretraining, load, folders):
    folders["output"].mkdir()
    (folders["output"] / name).write_bytes(b"something else")
    with pytest.raises(UserError, match=rf"holds {name}, but no in_context\.json.*--overwrite"):
        segment(load(pretraining), folders)
    assert [path.read_bytes() for path in folders["output"].iterdir()] == [b"something else"]
    assert segment(load(pretraining), folders, overwrite=True).segmented == ["case_04"]


def owned(path):
    """Puts a copy in the place of a link, so that it can be changed."""
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("folder", "name", "message"),
    [
        ("labels", "case_00.nii.gz", r"case_00\.nii\.gz was changed since"),
        ("query", "case_04_0000.nii.gz", r"has another image case_04 than.*case_04\.nii\.gz was made of"),
    ],
)
def test_a_file_that_was_changed_since_is_not_passed_over(folder, name, message, pretraining, load, folders):
    model, file = load(pretraining), owned(folders[folder] / name)
    segment(model, folders)
    assert segment(model, folders).skipped == ["case_04"]
    SimpleITK.WriteImage(SimpleITK.ReadImage(str(file)) * 0, str(file))
    with pytest.raises(UserError, match=f"{message}.*--overwrite"):
        segment(model, folders)
    assert segment(model, folders, overwrite=True).segmented == ["case_04"]
    assert segment(model, folders).skipped == ["case_04"]


def test_an_image_that_was_changed_is_segmented_again_where_its_segmentation_was_removed(pretraining, load, folders):
    model, image = load(pretraining), owned(folders["query"] / "case_04_0000.nii.gz")
    segment(model, folders)
    SimpleITK.WriteImage(SimpleITK.ReadImage(str(image)) * 2, str(image))
    (folders["output"] / "case_04.nii.gz").unlink()
    assert segment(model, folders).segmented == ["case_04"]
    assert segment(model, folders).skipped == ["case_04"]


def test_a_checkpoint_that_was_trained_on_since_is_not_passed_over(pretraining, load, folders, tmp_path):
    checkpoint = tmp_path / "checkpoint_latest.pth"
    shutil.copy(pretraining, checkpoint)
    segment(load(checkpoint), folders)
    with checkpoint.open("ab") as file:
        file.write(b"0")
    with pytest.raises(UserError, match=r"checkpoint_latest\.pth was changed since"):
        segment(load(pretraining).__class__(**vars(load(pretraining)) | {"source": checkpoint}), folders)


def test_results_of_earlier_versions_are_gone_on_with(pretraining, load, folders):
    segment(load(pretraining), folders)
    record = read_json(folders["output"] / "in_context.json")
    del record["checksums"], record["checksums_of_segmented"]
    write_json(record, folders["output"] / "in_context.json")
    assert segment(load(pretraining), folders).skipped == ["case_04"]


def test_an_interrupted_overwrite_keeps_nothing_of_other_settings(
    pretraining, load, folders, tiny_dataset, monkeypatch
):
    for image in (raw_of(tiny_dataset) / "imagesTr").glob("case_03_*"):
        (folders["query"] / image.name).symlink_to(image)
    model = load(pretraining)
    assert segment(model, folders).segmented == ["case_03", "case_04"]
    export = segment_folder.export

    def stop_at_the_second(*arguments, **options):
        if options["truncated"].name == "case_04":
            raise KeyboardInterrupt
        return export(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(segment_folder, "export", stop_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            segment(model, folders, k=1, overwrite=True)
    written = segment(model, folders, k=1)
    assert (written.segmented, written.skipped) == (["case_04"], ["case_03"])


@pytest.mark.parametrize("writer", ["export_prediction_from_logits", "load_postprocess_save"])
def test_a_full_disk_leaves_no_segmentation(writer, pretraining, load, folders, monkeypatch):
    """nnU-Net's export and its post-processing report none for NIfTI files."""
    write = getattr(classifier, writer)

    def write_to_a_full_disk(*arguments, **options):
        with no_file_beyond(100):
            return write(*arguments, **options)

    monkeypatch.setattr(classifier, writer, write_to_a_full_disk)
    with pytest.raises(OSError, match="No space left"):
        segment(load(pretraining), folders, refine=True)
    assert not list(folders["output"].rglob("case_04*"))


def test_a_missing_channel_is_named(region_pretraining, load, tmp_path, folders):
    image = next(folders["query"].iterdir())
    image.rename(image.with_name("case_04_0001.nii.gz"))
    with pytest.raises(UserError, match=r"has case_04_0001\.nii\.gz, but no case_04_0000\.nii\.gz"):
        segment(load(region_pretraining[0]), folders)
