import SimpleITK

from nnunet_pix2rep.nnunet.data.cine import Cine


def test_a_frame_says_no_more_about_the_patient_than_its_voxels(tmp_path):
    image = SimpleITK.Image([4, 4, 3, 2], SimpleITK.sitkFloat32)
    image.SetMetaData("0010|0010", "DOE^JOHN")
    SimpleITK.WriteImage(image, str(tmp_path / "cine.nrrd"))
    assert b"DOE^JOHN" in (tmp_path / "cine.nrrd").read_bytes()
    Cine(tmp_path / "cine.nrrd").write_frame(1, tmp_path / "frame.nrrd")
    assert b"DOE^JOHN" not in (tmp_path / "frame.nrrd").read_bytes()
