import dataclasses
import json
import math
import operator
from pathlib import Path

import pytest

from nnunet_pix2rep.config import FinetuningConfig, Pix2RepConfig, parse_settings
from nnunet_pix2rep.config.fields import parts_of
from nnunet_pix2rep.config.flat_names import NEW_NAMES
from nnunet_pix2rep.config.merge import listed
from nnunet_pix2rep.config.seeds import MAX_SEED
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.random_state import global_seed

PARTS = dict(parts_of(Pix2RepConfig))
SETTINGS = [(part, item) for part, cls in PARTS.items() for item in dataclasses.fields(cls) if item.metadata]
each_setting = pytest.mark.parametrize(
    ("part", "item"), SETTINGS, ids=[f"{part}.{item.name}" for part, item in SETTINGS]
)


def read(part, name, value):
    block = {name: value}
    for outer in reversed(part.split(".")):
        block = {outer: block}
    return operator.attrgetter(f"{part}.{name}")(Pix2RepConfig.from_block(block, "the_plans.json"))


def limits(item):
    return item.metadata["low"], item.metadata["high"]


def is_range(item):
    return item.type.startswith("tuple[float, float]")


@each_setting
def test_every_default_passes_its_own_check(part, item):
    assert read(part, item.name, json.loads(json.dumps(item.default))) == item.default


@each_setting
def test_every_setting_says_what_it_means_and_where_its_default_comes_from(part, item):
    assert item.metadata["meaning"].strip()
    assert item.metadata["source"].strip()
    assert item.metadata["low"] <= item.metadata["high"]


@each_setting
def test_a_value_out_of_range_is_refused_with_key_range_and_file(part, item):
    low, high = limits(item)
    if item.metadata["choices"]:
        outside, named = ["no_such_choice"], item.metadata["choices"]
    else:
        outside = [value for value in (low - 1, high + 1) if math.isfinite(value)]
        named = [str(value) for value in (low, high) if math.isfinite(value)]
    assert outside
    for value in outside:
        given = [value, value] if is_range(item) else [value] if item.type.startswith("tuple") else value
        with pytest.raises(UserError) as error:
            read(part, item.name, given)
        for expected in (f"pix2rep.{part}.{item.name}", "the_plans.json", repr(given), *named):
            assert expected in str(error.value)


@each_setting
def test_a_value_of_another_type_is_refused(part, item):
    values = ["text", True, {}, [[1, 2]], [1, 2, 3, "4"], math.nan, math.inf, [math.nan, 1], None]
    if "None" in item.type:
        assert read(part, item.name, values.pop()) is None
    for value in values:
        with pytest.raises(UserError, match=f"pix2rep.{part}.{item.name}.*the_plans.json"):
            read(part, item.name, value)


@each_setting
def test_the_ends_of_the_range_are_allowed(part, item):
    for end in limits(item):
        if math.isfinite(end):
            given = [end, end] if is_range(item) else [end] if item.type.startswith("tuple") else end
            assert read(part, item.name, given) == (tuple(given) if isinstance(given, list) else given)


@pytest.mark.parametrize(("part", "item"), [(part, item) for part, item in SETTINGS if is_range(item)])
def test_a_range_whose_lower_end_is_above_the_upper_one_is_refused(part, item):
    low, high = limits(item)
    for wrong in ([high, low], [low], [low, high, high]):
        with pytest.raises(
            UserError, match=f"pix2rep.{part}.{item.name}.*the_plans.json.*two numbers.*the lower first"
        ):
            read(part, item.name, wrong)


def test_the_range_of_a_setting_that_may_be_null_says_so():
    with pytest.raises(UserError, match="null or a list of two numbers from -180 to 180"):
        read("pretraining.views", "rotation_degrees", 30)
    with pytest.raises(UserError, match="null or a list of integers from 0 to 2"):
        read("pretraining.views", "mirror_axes", [3])


def test_a_fraction_is_no_number_of_epochs():
    with pytest.raises(UserError, match="an integer of at least 1"):
        read("pretraining", "num_epochs", 2.5)


@pytest.mark.parametrize(("part", "item"), [(part, item) for part, item in SETTINGS if "seed" in item.name])
def test_a_seed_is_one_that_all_generators_take(part, item):
    with pytest.raises(UserError, match=f"{part}.{item.name}.* an integer from 0 to {MAX_SEED}, but is 9{{23}}"):
        Pix2RepConfig().with_settings([f"{part}.{item.name}={'9' * 23}"])
    with global_seed(read(part, item.name, MAX_SEED)):
        pass


@pytest.mark.parametrize("digits", [400, 5000])
@pytest.mark.parametrize("name", ["pretraining.num_epochs", "finetuning.head_lr", "pretraining.views.mirror_axes"])
@pytest.mark.parametrize("sign", ["", "-"])
def test_a_number_of_any_length_is_refused_as_others_are(name, digits, sign):
    number = sign + "1" * digits
    with pytest.raises(UserError, match=f"{name}.*must be"):
        Pix2RepConfig().with_settings([f"{name}={f'[{number}]' if name.endswith('axes') else number}"])


def test_numbers_take_the_type_of_the_setting():
    assert type(read("pretraining", "num_epochs", 20.0)) is int
    assert type(read("pretraining.info_nce", "temperature", 1)) is float
    assert read("pretraining.views", "zoom", [1, 2]) == (1.0, 2.0)
    assert read("pretraining.views", "mirror_axes", []) == ()


@pytest.mark.parametrize(
    ("block", "named"),
    [
        ({"pretraining": {"epochs": 3}}, ("pix2rep.pretraining.epochs", "num_epochs")),
        ({"pretrain": {}}, ("pix2rep.pretrain", "pretraining, finetuning")),
        ({"pretraining": 3}, ("pix2rep.pretraining", "3")),
        ({"pretraining": {"head": 64}}, ("pix2rep.pretraining.head", "hidden_channels, channels", "64")),
        ({"pretraining": {"head": {"width": 64}}}, ("pix2rep.pretraining.head.width", "hidden_channels, channels")),
        ([1], ("pix2rep", "pretraining, finetuning")),
    ],
)
def test_unknown_keys_and_parts_are_named_beside_the_known_ones(block, named):
    with pytest.raises(UserError) as error:
        Pix2RepConfig.from_block(block, "the_plans.json")
    for expected in (*named, "the_plans.json"):
        assert expected in str(error.value)


def test_no_block_means_the_defaults():
    assert Pix2RepConfig.from_block(None, "") == Pix2RepConfig.from_block({}, "") == Pix2RepConfig()
    assert Pix2RepConfig.from_block({"pretraining": {"num_epochs": 3}}, "").finetuning == FinetuningConfig()


def test_a_block_survives_a_json_file():
    settings = ["pretraining.views.zoom=[0.6, 1.1]", "pretraining.views.mirror_axes=[0, 1]", "finetuning.num_epochs=7"]
    config = Pix2RepConfig().with_settings(settings)
    assert config != Pix2RepConfig()
    for block in (config.to_block(), json.loads(json.dumps(config.to_block()))):
        assert Pix2RepConfig.from_block(block, "") == config


def test_a_block_holds_every_setting_as_plain_values():
    block = Pix2RepConfig().to_block()
    assert {name for name, _ in listed(block)} == {f"{part}.{item.name}" for part, item in SETTINGS}
    assert json.loads(json.dumps(block)) == block


def test_settings_are_read_as_json_and_else_as_text():
    parsed = parse_settings(
        ["pretraining.a=1", "pretraining.b.c = [0.5, 1]", "pretraining.b.d=2", "finetuning.e=null", "finetuning.f=sgd"]
    )
    assert parsed == {"pretraining": {"a": 1, "b": {"c": [0.5, 1], "d": 2}}, "finetuning": {"e": None, "f": "sgd"}}


@pytest.mark.parametrize(
    "text",
    ["num_epochs=3", "pretraining.num_epochs", "pretraining.=3", ".num_epochs=3", "pretraining..num_epochs=3", "=", ""],
)
def test_settings_of_another_form_are_refused(text):
    with pytest.raises(UserError, match=r"--set.*pretraining\.num_epochs=200"):
        parse_settings([text])


def test_the_parts_are_those_that_the_documentation_names():
    page = Path(__file__).parents[1] / "docs" / "reference" / "settings.md"
    headings = [line.removeprefix("## ") for line in page.read_text("utf-8").splitlines() if line.startswith("## ")]
    assert list(PARTS) == headings


# ----------------------------------------------------------------------------------------------------- names of before


def value_now(config, name):
    return operator.attrgetter(f"pretraining.{NEW_NAMES[name]}")(config)


@pytest.mark.parametrize("name", NEW_NAMES)
def test_a_name_of_before_is_refused_with_the_name_of_now(name):
    default = value_now(Pix2RepConfig(), name)
    message = rf'"pix2rep.pretraining.{name}" in old.json is "pix2rep.pretraining.{NEW_NAMES[name]}" now'
    with pytest.raises(UserError, match=message):
        Pix2RepConfig.from_block({"pretraining": {name: default}}, "old.json")
    with pytest.raises(UserError, match=f"pretraining.{NEW_NAMES[name]}"):
        Pix2RepConfig().with_settings([f"pretraining.{name}={json.dumps(default)}"])


@pytest.mark.parametrize("name", NEW_NAMES)
def test_a_checkpoint_of_before_is_read_by_its_names(name):
    default = value_now(Pix2RepConfig(), name)
    part, _, name_now = NEW_NAMES[name].partition(".")
    item = next(item for item in dataclasses.fields(PARTS[f"pretraining.{part}"]) if item.name == name_now)
    ends = item.metadata["choices"] or [end for end in limits(item) if math.isfinite(end)]
    values = [[end, end] if is_range(item) else [end] if item.type.startswith("tuple") else end for end in ends]
    other = next(value for value in values if value != json.loads(json.dumps(default)))
    record = {"pretraining": {name: other, "num_epochs": 3}, "finetuning": {"num_epochs": 5}}
    config = Pix2RepConfig.from_record(record, "old.pth")
    assert value_now(config, name) == (tuple(other) if isinstance(other, list) else other) != default
    assert (config.pretraining.num_epochs, config.finetuning.num_epochs) == (3, 5)


def test_a_checkpoint_of_now_is_read_as_it_is():
    config = Pix2RepConfig().with_settings(["pretraining.views.zoom=[0.6, 1.1]", "finetuning.weight_decay=0.1"])
    assert Pix2RepConfig.from_record(config.to_block(), "new.pth") == config
    assert Pix2RepConfig.from_record(None, "of_others.pth") == Pix2RepConfig()
