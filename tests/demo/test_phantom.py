from functools import cache

import numpy as np
import pytest
import SimpleITK
from scipy.ndimage import binary_dilation, label

from nnunet_pix2rep.demo.body.heart import LV, MYOCARDIUM, RV
from nnunet_pix2rep.demo.phantom import DEFAULT_PATIENTS, draw_patient, make_frame, write_phantom
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json

frame = cache(make_frame)
# Two of each group, of different seeds.
some_patients = pytest.mark.parametrize(
    ("seed", "number"), [(0, 0), (0, 1), (0, 2), (0, 3), (7, 4), (7, 5), (7, 6), (7, 7)]
)
both_phases = pytest.mark.parametrize("phase", ["ED", "ES"])


@some_patients
@both_phases
def test_the_myocardium_encloses_the_cavity(seed, number, phase):
    for segmentation in frame(seed, number, phase)[1]:
        around = binary_dilation(segmentation == LV)
        assert np.isin(segmentation[around], [LV, MYOCARDIUM]).all()


@some_patients
@both_phases
def test_every_slice_is_plausible(seed, number, phase):
    image, segmentation, spacing = frame(seed, number, phase)
    assert image.shape == segmentation.shape
    assert 6 <= len(image) <= 8
    assert 88 <= min(image.shape[1:]) <= max(image.shape[1:]) <= 128
    assert image.dtype == np.float32
    assert np.isfinite(image).all()
    assert (image.std(axis=(1, 2)) > 0).all()
    unlabeled = [index for index, one_slice in enumerate(segmentation) if not one_slice.any()]
    # The base of a contracted heart moves below the first slice.
    assert unlabeled in ([], [0] if phase == "ES" else [])
    for index in set(range(len(image))) - set(unlabeled):
        assert label(segmentation[index] == LV)[1] == 1
        assert label(segmentation[index] == MYOCARDIUM)[1] == 1
    assert not segmentation[:, [0, -1], :].any()
    assert not segmentation[:, :, [0, -1]].any()
    areas = [(segmentation == structure).sum() * spacing[1] * spacing[2] for structure in (RV, MYOCARDIUM, LV)]
    assert min(areas) > 400  # mm², over all slices


@some_patients
def test_blood_is_brighter_than_muscle(seed, number):
    image, segmentation, _ = frame(seed, number, "ED")
    muscle = image[segmentation == MYOCARDIUM].mean()
    assert image[segmentation == LV].mean() > 1.1 * muscle
    assert image[segmentation == RV].mean() > 1.1 * muscle


@some_patients
def test_the_heart_contracts(seed, number):
    diastole, systole = (np.sum(frame(seed, number, phase)[1] == LV) for phase in ("ED", "ES"))
    assert 0.1 < 1 - systole / diastole < 0.9


def test_a_seed_makes_the_same_phantom_again():
    first, again = (make_frame.__wrapped__(3, 1, "ES") for _ in range(2))
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])
    assert first[2] == again[2]


def test_another_seed_makes_another_patient():
    assert draw_patient(0, 1).scanner != draw_patient(1, 1).scanner
    assert draw_patient(0, 1).heart != draw_patient(1, 1).heart


def test_patients_differ():
    patients = [draw_patient(0, number) for number in range(DEFAULT_PATIENTS)]
    for part in ("heart", "thorax", "scanner", "shift", "rotation", "spacing"):
        assert len({repr(getattr(patient, part)) for patient in patients}) == len(patients)
    radii = [patient.heart.radius for patient in patients]
    assert max(radii) > 1.4 * min(radii)
    means = [frame(0, number, "ED")[0].mean() for number in range(6)]
    assert max(means) > 1.5 * min(means)


def test_the_dataset_is_one_of_nnunet(tmp_path):
    folder = write_phantom(tmp_path, seed=1, num_patients=2)
    assert read_json(folder / "dataset.json")["labels"] == {"background": 0, "RV": 1, "MLV": 2, "LVC": 3}
    patients = read_json(folder / "patients.json")
    assert {entry["patient"] for entry in patients.values()} == {"patient000", "patient001"}
    for case in patients:
        image = SimpleITK.ReadImage(str(folder / "imagesTr" / f"{case}_0000.nii.gz"))
        segmentation = SimpleITK.ReadImage(str(folder / "labelsTr" / f"{case}.nii.gz"))
        assert image.GetSize() == segmentation.GetSize()
        assert image.GetSpacing() == segmentation.GetSpacing()
        number, phase = int(case[7:10]), case[11:]
        assert np.array_equal(SimpleITK.GetArrayViewFromImage(segmentation), frame(1, number, phase)[1])
        assert image.GetSpacing()[::-1] == pytest.approx(frame(1, number, phase)[2])


def test_another_phantom_is_not_overwritten(tmp_path):
    write_phantom(tmp_path, seed=1, num_patients=1)
    with pytest.raises(UserError, match="differs"):
        write_phantom(tmp_path, seed=2, num_patients=1)
