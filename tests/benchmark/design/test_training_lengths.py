import pytest
from tiny_training import LENGTH, PLANS

from nnunet_pix2rep.benchmark.design.linked_dataset import write_own_plans
from nnunet_pix2rep.benchmark.design.methods import METHODS, Method
from nnunet_pix2rep.benchmark.design.training_lengths import BenchmarkPlans, Length
from nnunet_pix2rep.config import Pix2RepConfig
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json, write_json


@pytest.fixture
def make_plans(dataset, settings):
    def make(**changes):
        return BenchmarkPlans(read_json(dataset / f"{PLANS}.json"), settings(**changes), "plans")

    return make


def block_of(plans):
    return plans["configurations"]["2d"]["pix2rep"]


@pytest.mark.parametrize(
    ("wanted", "epochs", "per_epoch"), [(250, 1, 250), (1000, 4, 250), (997, 4, 250), (300, 2, 150), (1, 1, 1)]
)
def test_iterations_become_epochs_of_about_the_same_length(wanted, epochs, per_epoch):
    length = Length(1000, 250).with_iterations(wanted)
    assert (length.num_epochs, length.num_iterations_per_epoch) == (epochs, per_epoch)
    assert length.iterations >= wanted


@pytest.mark.parametrize(("wanted", "epochs", "per_epoch"), [(400, 20, 20), (10000, 40, 250), (5, 5, 1)])
def test_a_short_training_has_enough_epochs_for_the_learning_rate_to_fall(wanted, epochs, per_epoch):
    length = Length(1000, 250).with_iterations(wanted, least_epochs=20)
    assert (length.num_epochs, length.num_iterations_per_epoch) == (epochs, per_epoch)


def test_a_short_training_is_hardly_longer_than_asked_for():
    lengths = {wanted: Length(1000, 250).with_iterations(wanted, least_epochs=20) for wanted in range(1, 5000)}
    assert [wanted for wanted in range(1, 41) if lengths[wanted].iterations != wanted] == []
    assert max(length.iterations / wanted for wanted, length in lengths.items()) < 1.03
    assert all(min(wanted, 20) <= length.num_epochs < 40 for wanted, length in lengths.items())


@pytest.mark.parametrize("wanted", [20, 160, 400, 640, 1000, 2000, 4000, 10000])
def test_multiples_of_twenty_have_twenty_epochs_at_least_as_ever(wanted):
    """Benchmarks that were begun go on, and their results can be had again."""
    length = Length(1000, 250).with_iterations(wanted, least_epochs=20)
    assert length == Length(max(20, wanted // 250), min(wanted // 20, 250))


@pytest.mark.parametrize(("iterations", "validation"), [(400, 4), (20, 1), (10000, 50)])
def test_shorter_epochs_have_fewer_validation_steps(dataset, settings, iterations, validation):
    plans = read_json(dataset / f"{PLANS}.json")
    block_of(plans)["finetuning"] = {"num_iterations_per_epoch": 250, "num_val_iterations_per_epoch": 50}
    made = BenchmarkPlans(plans, settings(iterations=iterations), "plans").for_method(METHODS["scratch"])
    assert block_of(made)["finetuning"]["num_val_iterations_per_epoch"] == validation


def with_all_settings(plans):
    """The plans as they are understood, with every default."""
    plans["configurations"]["2d"]["pix2rep"] = Pix2RepConfig.from_block(block_of(plans), "plans").to_block()
    return plans


def test_without_lengths_the_plans_are_the_users(dataset, make_plans):
    plans = make_plans()
    assert plans.for_method(METHODS["scratch"]) == with_all_settings(read_json(dataset / f"{PLANS}.json"))
    assert plans.lengths.finetuning == Length(LENGTH["num_epochs"], LENGTH["num_iterations_per_epoch"])


def test_lengths_reach_both_stages_and_nothing_else_changes(dataset, make_plans):
    made = make_plans(iterations=40, pretraining_iterations=10).for_method(METHODS["pix2rep"])
    user = with_all_settings(read_json(dataset / f"{PLANS}.json"))
    for part, epochs in (("finetuning", 20), ("pretraining", 5)):
        changed = {"num_epochs": epochs, "num_iterations_per_epoch": 2, "save_every": 1}
        assert block_of(made)[part] == block_of(user)[part] | changed
    del block_of(made)["finetuning"], block_of(made)["pretraining"]
    del block_of(user)["finetuning"], block_of(user)["pretraining"]
    assert made == user


def test_scratch_long_has_the_pretraining_added_in_plans_of_its_own(make_plans):
    plans = make_plans(iterations=40, pretraining_iterations=10)
    method = METHODS["scratch_long"]
    assert plans.lengths.of_method(method).iterations == 50
    made = plans.for_method(method)
    assert made["plans_name"] == plans.name_for(method) == f"{PLANS}_scratch_long"
    length = block_of(made)["finetuning"]
    assert length["num_epochs"] * length["num_iterations_per_epoch"] == 50
    assert plans.name_for(METHODS["scratch"]) == PLANS


def test_a_method_can_have_settings_of_its_own(make_plans):
    method = Method("fast", "nnUNetTrainerPix2RepFinetune", settings=("finetuning.head_lr=0.5",))
    made = make_plans().for_method(method)
    assert block_of(made)["finetuning"]["head_lr"] == 0.5
    assert made["plans_name"] == f"{PLANS}_fast"


def test_pretrainings_of_other_seeds_have_plans_of_their_own(make_plans):
    plans = make_plans()
    assert plans.for_pretraining(0) == plans.for_method(METHODS["pix2rep"])
    made = plans.for_pretraining(2)
    assert made["plans_name"] == plans.name_for_pretraining(2) == f"{PLANS}_pretraining_seed_2"
    assert block_of(made)["pretraining"]["seed"] == 2


def test_a_training_is_saved_some_ten_times(make_plans):
    made = make_plans(iterations=400).for_method(METHODS["scratch"])
    assert block_of(made)["finetuning"]["save_every"] == 1  # the user's own is lower than 200 epochs / 10


@pytest.mark.parametrize("made_by", ["the version that had another default", "the version before it was a setting"])
def test_a_benchmark_does_not_go_on_with_the_defaults_of_another_version(make_plans, tmp_path, made_by):
    plans = make_plans().for_method(METHODS["scratch"])
    write_own_plans(tmp_path, plans)
    write_own_plans(tmp_path, plans)
    file = tmp_path / f"{PLANS}.json"
    earlier = read_json(file)
    if "another" in made_by:
        block_of(earlier)["finetuning"]["head_lr"] /= 3
    else:
        del block_of(earlier)["finetuning"]["head_lr"]
    write_json(earlier, file)
    with pytest.raises(UserError, match=r"other defaults: configurations\.2d\.pix2rep\.finetuning\.head_lr differ"):
        write_own_plans(tmp_path, plans)
    assert read_json(file) == earlier
