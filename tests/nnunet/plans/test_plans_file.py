import pytest
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from planned_dataset import DATASET

from nnunet_pix2rep.config import Pix2RepConfig
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json, write_json
from nnunet_pix2rep.nnunet.plans.plans_file import add_settings, plans_in, read_config, read_plans
from nnunet_pix2rep.nnunet.plans.write import write_plans


def test_only_the_block_and_the_name_change(planned_copy):
    path = write_plans(900, "2d", settings=["pretraining.num_epochs=200"])
    written, source = read_json(path), read_json(planned_copy / "nnUNetPlans.json")
    assert path == planned_copy / "Pix2RepPlans.json"
    assert written["configurations"]["2d"].pop("pix2rep") == {"pretraining": {"num_epochs": 200}}
    assert written.pop("plans_name") == "Pix2RepPlans"
    assert source.pop("plans_name") == "nnUNetPlans"
    assert written == source


def test_the_written_settings_are_read_back(planned_copy):
    settings = ["pretraining.num_epochs=7", "pretraining.views.zoom=[0.5, 1]", "finetuning.num_epochs=30"]
    path = write_plans(DATASET, "2d", settings=settings, compact=True)
    manager = PlansManager(str(path))
    for configuration, of_compact in (("2d", []), ("2d_compact", ["finetuning.backbone_lr=0.003"])):
        read = read_config(manager.get_configuration(configuration), str(path))
        assert read == Pix2RepConfig().with_settings([*settings, *of_compact])


def test_a_configuration_without_a_block_has_the_defaults(plans):
    assert read_config(plans["configurations"]["2d"], "plans") == Pix2RepConfig()


def test_settings_of_the_source_plans_are_kept_unless_set_anew(plans):
    first = add_settings(plans, "2d", ["pretraining.num_epochs=7", "pretraining.seed=3"], "first.json")
    second = add_settings(first, "2d", ["pretraining.num_epochs=9"], "second.json")
    assert second["configurations"]["2d"]["pix2rep"] == {"pretraining": {"num_epochs": 9, "seed": 3}}


def test_settings_of_a_parent_configuration_are_kept(plans):
    plans = add_settings(plans, "2d", ["pretraining.seed=3"], "plans.json")
    plans["configurations"]["2d_large"] = {"inherits_from": "2d", "batch_size": 16}
    plans = add_settings(plans, "2d_large", ["pretraining.num_epochs=9"], "plans.json")
    assert plans["configurations"]["2d_large"]["pix2rep"] == {"pretraining": {"num_epochs": 9, "seed": 3}}


def test_existing_plans_are_replaced_only_on_request(planned_copy):
    path = write_plans(900, "2d", settings=["pretraining.seed=1"])
    before = path.read_text()
    with pytest.raises(UserError, match="--overwrite"):
        write_plans(900, "2d")
    assert path.read_text() == before
    write_plans(900, "2d", overwrite=True)
    assert read_json(path)["configurations"]["2d"]["pix2rep"] == {}


@pytest.mark.parametrize("name", ["nnUNetPlans", "a__b", "../plans", "Plans.json", ""])
def test_a_name_that_nnunet_could_not_use_is_refused(planned_copy, name):
    before = sorted(planned_copy.iterdir())
    with pytest.raises(UserError, match="-o"):
        write_plans(900, "2d", plans_name=name, overwrite=True)
    assert sorted(planned_copy.iterdir()) == before


def test_bad_settings_write_nothing(planned_copy):
    before = sorted(planned_copy.iterdir())
    for setting, named in (
        ("pretraining.num_epochs=0", "pretraining.num_epochs"),
        ("pretraining.epochs=2", "pretraining.epochs"),
        ("epochs=2", "part.name=value"),
    ):
        with pytest.raises(UserError, match=named):
            write_plans(900, "2d", settings=[setting])
    assert sorted(planned_copy.iterdir()) == before


def test_a_bad_block_in_the_source_names_its_file(planned_copy, plans):
    plans["configurations"]["2d"]["pix2rep"] = {"pretraining": {"typo": 1}}
    write_json(plans, planned_copy / "OldPlans.json")
    with pytest.raises(UserError, match=r"OldPlans.json"):
        write_plans(900, "2d", source_plans_name="OldPlans")


def test_a_missing_configuration_lists_those_that_exist(planned_copy):
    with pytest.raises(UserError, match="2d, 3d_fullres"):
        write_plans(900, "3d_lowres")


@pytest.mark.parametrize("name", ["dataset", "dataset_fingerprint"])
def test_a_file_that_holds_no_plans_is_never_replaced(name, planned_copy):
    before = (planned_copy / f"{name}.json").read_bytes()
    with pytest.raises(UserError, match=rf"{name}\.json is there and holds no plans.*-o"):
        write_plans(900, "2d", plans_name=name, overwrite=True)
    assert (planned_copy / f"{name}.json").read_bytes() == before


def test_missing_plans_name_the_command_that_makes_them(planned_copy):
    with pytest.raises(UserError, match="nnUNetv2_plan_experiment -d 900"):
        write_plans(900, "2d", source_plans_name="MyPlans")


def test_a_missing_dataset_is_named(planned_copy):
    with pytest.raises(UserError, match="901"):
        write_plans(901, "2d")
    with pytest.raises(UserError, match="Dataset902_Other"):
        write_plans("Dataset902_Other", "2d")


def test_a_missing_environment_variable_is_named(planned_copy, monkeypatch):
    monkeypatch.delenv("nnUNet_preprocessed")
    with pytest.raises(UserError, match="nnUNet_preprocessed"):
        write_plans(900, "2d")


def test_a_cascade_is_refused(plans_with_cascade):
    with pytest.raises(UserError, match="cascade"):
        add_settings(plans_with_cascade, "3d_cascade_fullres", [], "plans.json")


def test_missing_plans_are_named_with_those_that_are_there(planned_copy):
    write_plans(DATASET, "2d", plans_name="Short")
    write_json({"format_version": 1, "images": {}}, planned_copy / "nnUNetPlans_2d_unlabeled.json")
    assert plans_in(planned_copy) == ["Short", "nnUNetPlans", "nnUNetResEncUNetPlans"]
    with pytest.raises(UserError, match=r"plans found there: Short, nnUNetPlans, nnUNetResEncUNetPlans\)"):
        read_plans(planned_copy / "Other.json")


@pytest.mark.parametrize("name", ["Pix2Rep", "pix_2_rep", "PIX2-REP"])
def test_a_block_under_a_misspelt_name_is_refused(plans, name):
    plans["configurations"]["2d"][name] = {"pretraining": {"seed": 3}}
    with pytest.raises(UserError, match=f'"{name}" in plans.json is not read: the block is called "pix2rep"'):
        read_config(plans["configurations"]["2d"], "plans.json")


@pytest.mark.parametrize("name", ["pix2rep", "Pix2Rep"])
def test_a_block_beside_the_configurations_is_refused(plans, name):
    plans[name] = {"pretraining": {"seed": 3}}
    with pytest.raises(UserError, match=f'"{name}" in the plans nnUNetPlans is not read.*as "pix2rep"'):
        add_settings(plans, "2d", [], "plans.json")
