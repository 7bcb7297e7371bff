import nibabel
import numpy as np
import pytest
import SimpleITK
import tifffile

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import write_json
from nnunet_pix2rep.nnunet.data.dataset_reader import DatasetReader

OBLIQUE = np.array([[0.0, 0.0, 2.5, 3.0], [1.5, 0.1, 0.0, -7.0], [0.0, -1.2, 0.0, 11.0], [0.0, 0.0, 0.0, 1.0]])
STRAIGHT = np.array([[0.0, 0.0, 2.5, 3.0], [1.5, 0.0, 0.0, -7.0], [0.0, -1.2, 0.0, 11.0], [0.0, 0.0, 0.0, 1.0]])
VALUES = np.random.default_rng(0).normal(size=(6, 7, 5)).astype(np.float32)


def save_nifti(affine, folder):
    file = folder / "a_0000.nii.gz"
    nibabel.save(nibabel.Nifti1Image(VALUES, affine), file)
    return file


def save_itk(folder, ending, dimension):
    image = SimpleITK.GetImageFromArray(VALUES.astype(np.uint8) if ending == ".png" else VALUES)
    image.SetSpacing((1.5, 1.2, 2.5))
    file = folder / f"a_0000{ending}"
    SimpleITK.WriteImage(image if dimension == 3 else image[:, :, 0], str(file))
    return file


def save_tiff(folder):
    file = folder / "a_0000.tif"
    tifffile.imwrite(file, VALUES)
    write_json({"spacing": [2.5, 1.2, 1.5]}, folder / "a.json")
    return file


CASES = {
    "SimpleITKIO": lambda folder: save_nifti(STRAIGHT, folder),
    "SimpleITKIO 2D": lambda folder: save_itk(folder, ".mha", 2),
    "NibabelIO": lambda folder: save_nifti(OBLIQUE, folder),
    "NibabelIOWithReorient": lambda folder: save_nifti(OBLIQUE, folder),
    "NaturalImage2DIO": lambda folder: save_itk(folder, ".png", 2),
    "Tiff3DIO": save_tiff,
}


@pytest.mark.parametrize("case", CASES)
def test_the_header_tells_what_nnunets_reader_returns(case, tmp_path):
    file = CASES[case](tmp_path)
    ending = file.name.removeprefix("a_0000")
    reader = DatasetReader({"file_ending": ending, "overwrite_image_reader_writer": case.split()[0]})
    assert reader.name == case.split()[0]
    values, properties = reader.read([file])
    grid = reader.geometry(file)
    assert grid.shape == values.shape[1:]
    assert np.allclose(grid.spacing, properties["spacing"])
    assert grid.dimension == (2 if case in ("SimpleITKIO 2D", "NaturalImage2DIO") else 3)
    assert (grid.orientation is None) == (case in ("SimpleITKIO 2D", "NaturalImage2DIO", "Tiff3DIO"))


def test_orientations_are_those_of_the_arrays(tmp_path):
    file = save_nifti(OBLIQUE, tmp_path)
    found = {
        name: DatasetReader({"file_ending": ".nii.gz", "overwrite_image_reader_writer": name}).geometry(file)
        for name in ("NibabelIO", "NibabelIOWithReorient")
    }
    assert found["NibabelIO"].orientation == "AIR"
    assert found["NibabelIOWithReorient"].orientation == "RAS"
    assert found["NibabelIOWithReorient"].shape == (7, 6, 5)


def test_an_image_of_the_dataset_decides_where_dataset_json_names_no_reader(tmp_path):
    content = {"file_ending": ".nii.gz"}
    assert DatasetReader(content).name == "SimpleITKIO"
    assert DatasetReader(content, save_nifti(OBLIQUE, tmp_path)).name == "NibabelIO"
    assert DatasetReader({"file_ending": ".tif"}, save_tiff(tmp_path)).name == "Tiff3DIO"


def test_what_cannot_be_read_is_one_sentence_without_nnunets_prints(tmp_path, capsys):
    file = tmp_path / "a_0000.nii.gz"
    file.write_bytes(b"no image")
    reader = DatasetReader({"file_ending": ".nii.gz"}, file)
    for read in (reader.geometry, lambda path: reader.read([path])):
        with pytest.raises(UserError, match=r"cannot be read|cannot read it"):
            read(file)
    assert capsys.readouterr() == ("", "")
    with pytest.raises(UserError, match=r"no reader for files with the ending \.xyz"):
        DatasetReader({"file_ending": ".xyz"})
