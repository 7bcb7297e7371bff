"""Folders of support and query images, as the commands take them."""


def raw_of(preprocessed):
    """The dataset's raw folder."""
    return preprocessed.parents[1] / "nnUNet_raw" / preprocessed.name


def make_folders(raw, root):
    """Links ``case_00`` and ``case_01`` as support and ``case_04`` as query; returns the folders by name."""
    made = {name: root / name for name in ("images", "labels", "query")}
    for folder in made.values():
        folder.mkdir()
    for image in sorted((raw / "imagesTr").iterdir()):
        case = image.name[: len("case_00")]
        folder = made["query"] if case == "case_04" else made["images"] if case in ("case_00", "case_01") else None
        if folder is not None:
            (folder / image.name).symlink_to(image)
    for case in ("case_00", "case_01"):
        (made["labels"] / f"{case}.nii.gz").symlink_to(raw / "labelsTr" / f"{case}.nii.gz")
    return made | {"output": root / "output"}
