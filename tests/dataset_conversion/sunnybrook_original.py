import numpy as np
import SimpleITK

PHASES, POSITIONS, ROWS, COLUMNS = 4, 5, 12, 16
PIXEL_MM, STEP_MM = (1.5, 1.25), 9.0
# Slices in the coronal plane: x to the left, y to the feet, so that an error in the direction shows.
ROW_AXIS, COLUMN_AXIS = np.array([1.0, 0, 0]), np.array([0, 0, -1.0])
NORMAL = np.cross(ROW_AXIS, COLUMN_AXIS)
EXPERT = "contours-manual/IRCCI-expert"


def write_dicom(path, gray, height, description="CINESAX", shape=(ROWS, COLUMNS)):
    """One slice as the scanner wrote it; ``height`` in mm along the normal."""
    pixels = np.full(shape, gray, np.int16)
    pixels[0, 1] = gray + 1
    image = SimpleITK.GetImageFromArray(pixels[None])
    image.SetSpacing((*PIXEL_MM, 8.0))
    position = np.array([-10.0, 20.0, 30.0]) + height * NORMAL
    tags = {
        "0008|0060": "MR",
        "0008|103e": description,
        "0020|0032": "\\".join(f"{value:.6f}" for value in position),
        "0020|0037": "\\".join(f"{value:.6f}" for value in (*ROW_AXIS, *COLUMN_AXIS)),
        "0018|0050": "8.0",
    }
    image.SetDirection(np.stack([ROW_AXIS, COLUMN_AXIS, NORMAL], axis=1).ravel().tolist())
    image.SetOrigin(position.tolist())
    for tag, value in tags.items():
        image.SetMetaData(tag, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = SimpleITK.ImageFileWriter()
    writer.SetFileName(str(path))
    writer.KeepOriginalImageUIDOn()
    writer.Execute(image)


def write_cine(folder, series, downwards=False, **options):
    """Image numbers as of the scanner: all phases of a position, then the next; some patients from the top down."""
    for position in range(POSITIONS):
        for phase in range(PHASES):
            number = position * PHASES + phase + 1
            height = STEP_MM * (POSITIONS - position if downwards else position) + 0.001 * phase
            write_dicom(folder / f"IM-{series:04d}-{number:04d}.dcm", 10 * number, height, **options)


def write_contour(folder, number, width):
    """A rectangle of rows 2 to 6 and columns 3 to 3 + width (between pixel centers), and other contours."""
    points = [(2.5, 1.5), (2.5 + width, 1.5), (2.5 + width, 6.5), (2.5, 6.5)]
    text = "\n".join(f"{x:.2f} {y:.2f}" for x, y in points) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    for kind in ("icontour", "ocontour", "p1contour"):
        (folder / f"IM-0001-{number:04d}-{kind}-manual.txt").write_text(text if kind == "icontour" else "0 0\n1 1\n")
