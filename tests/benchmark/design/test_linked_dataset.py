"""The unlabeled images in a benchmark: no test patient's, and the same for all methods."""

import pytest
from tiny_training import CASES, DATASET, PLANS

from nnunet_pix2rep.benchmark.design.linked_dataset import UNLABELED_FILE
from nnunet_pix2rep.benchmark.launch.setup import set_up
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json, write_json
from nnunet_pix2rep.nnunet.loading.fold_cases import pretraining_cases
from nnunet_pix2rep.nnunet.patients.split_files import read_dataset_patients, split_expression, write_splits
from nnunet_pix2rep.nnunet.unlabeled.pool import Pool, PoolImage, pool_folder, read_pool

REGEX = r"(case_\d+).*"
FRAMES = tuple(f"{case}_mid" for case in CASES)  # by name alone, each is a patient of its own


def image_of(case):
    return PoolImage(raw_case=case, folder="/raw", files={f"{case}_0000.nii.gz": 1}, modified=0)


def write_pool(dataset_folder, names, unfinished=()):
    """A pool in which all but some images are preprocessed; a name is that of the raw case too."""
    folder = pool_folder(dataset_folder, f"{PLANS}_2d")
    folder.mkdir(exist_ok=True)
    pool = Pool(folder, {}, {name: image_of(name) for name in names})
    for name in {*names} - {*unfinished}:
        (folder / f"{name}.b2nd").touch()
    pool.write()
    return pool


@pytest.fixture
def begin(own_dataset, settings, tmp_path):
    """Begins a benchmark, or goes on; returns its preprocessed dataset."""
    return lambda **changes: set_up(tmp_path / "out", settings(**changes)).folder.preprocessed / DATASET


def pool_of(own):
    return pool_folder(own, f"{PLANS}_2d")


def usable_images(own):
    return {*read_pool(pool_of(own)).images}


def test_unlabeled_images_of_test_patients_are_taken_out(own_dataset, begin, other_patients):
    write_pool(own_dataset, ["new_1", "other"])
    own = begin(test=other_patients)
    assert usable_images(own) == {"other"}
    assert pool_of(own).resolve() == pool_of(own_dataset)
    assert usable_images(own_dataset) == {"new_1", "other"}


def test_an_image_named_like_a_test_case_is_of_a_test_patient_whatever_the_folder_calls_the_patient(
    own_dataset, begin, other_patients
):
    write_json(
        {f"new_{number}": {"patient": f"known_{number}"} for number in range(2)}, other_patients / "patients.json"
    )
    write_pool(own_dataset, ["new_0", "known_1", "other"])
    assert usable_images(begin(test=other_patients)) == {"other"}


@pytest.mark.parametrize("given", [True, False])
def test_no_training_sees_a_test_patient_whom_the_regular_expression_finds(own_dataset, begin, given):
    write_pool(own_dataset, FRAMES)
    if not given:  # it is in the record of the user's split
        patients, source = read_dataset_patients(DATASET, REGEX)
        write_splits(own_dataset, [], patients, {"patients_from": source})
    own = begin(patient_regex=REGEX if given else None)
    (split,) = read_json(own / "splits_final.json")
    assert usable_images(own) == {f"{case}_mid" for case in CASES if case not in split["val"]}
    seen = pretraining_cases([*CASES, *FRAMES], split["val"], own)
    assert {name.removesuffix("_mid") for name in seen} == {*CASES} - {*split["val"]}


def test_a_record_of_an_earlier_version_gets_the_regular_expression(begin):
    own = begin(patient_regex=REGEX)
    record = read_json(own / "pix2rep_splits.json")
    del record["settings"]["patients_from"]
    write_json(record, own / "pix2rep_splits.json")
    begin(patient_regex=REGEX)
    assert split_expression(own).pattern == REGEX
    assert not list(own.glob("*backup*"))


def test_a_benchmark_that_was_begun_with_images_of_test_patients_is_refused(own_dataset, begin):
    write_pool(own_dataset, FRAMES)
    own = begin(patient_regex=REGEX)
    test_case = read_json(own / "splits_final.json")[0]["val"][0]
    Pool(pool_of(own), {}, {name: image_of(name) for name in FRAMES}).write()
    (own / UNLABELED_FILE).unlink()
    with pytest.raises(UserError, match=rf"unlabeled images of test patients: {test_case}_mid, .*new folder with -o"):
        begin(patient_regex=REGEX)


def appear(user, own):
    write_pool(user, ["a"])


def vanish(user, own):
    pool = read_pool(pool_of(user))
    del pool.images["b"]
    pool.write()


def finish(user, own):
    (pool_of(user) / "c.b2nd").touch()


def lose(user, own):
    (pool_of(user) / "a.b2nd").unlink()


@pytest.mark.parametrize(
    ("before", "change", "message"),
    [
        ([], appear, "added: a"),
        (["a", "b", "c"], vanish, "removed: b"),
        (["a", "b", "c"], finish, "preprocessed now or no longer: c"),
        (["a", "b", "c"], lose, "preprocessed now or no longer: a"),
    ],
)
@pytest.mark.parametrize("earlier_version", [False, True])
def test_other_unlabeled_images_than_at_the_first_start_are_refused(
    own_dataset, begin, before, change, message, earlier_version
):
    if before:
        write_pool(own_dataset, before, unfinished=["c"])
    own = begin()
    begin()
    change(own_dataset, own)
    if earlier_version:  # which has not kept what there was
        (own / UNLABELED_FILE).unlink()
        begin()
        return
    with pytest.raises(UserError, match=rf"have changed since this benchmark was begun \({message}\).*-o"):
        begin()


def test_images_that_come_to_a_pool_later_are_not_used_and_hinder_nothing(own_dataset, begin):
    write_pool(own_dataset, ["a"])
    begin()
    write_pool(own_dataset, ["a", "later"])
    assert usable_images(begin()) == {"a"}
