import dataclasses
import json
import math
import typing

import pytest

from nnunet_pix2rep.config import FinetuningConfig, Pix2RepConfig, PretrainingConfig, parse_settings
from nnunet_pix2rep.errors import UserError

PARTS = {"pretraining": PretrainingConfig, "finetuning": FinetuningConfig}
SETTINGS = [(part, item) for part, cls in PARTS.items() for item in dataclasses.fields(cls)]
each_setting = pytest.mark.parametrize(
    ("part", "item"), SETTINGS, ids=[f"{part}.{item.name}" for part, item in SETTINGS]
)


def read(part, name, value):
    return getattr(getattr(Pix2RepConfig.from_block({part: {name: value}}, "the_plans.json"), part), name)


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
@pytest.mark.parametrize("value", ["text", True, {}, [[1, 2]], [1, 2, 3, "4"], math.nan, math.inf, [math.nan, 1], None])
def test_a_value_of_another_type_is_refused(part, item, value):
    if value is None and "None" in item.type:
        assert read(part, item.name, value) is None
        return
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
        read("pretraining", "rotation_degrees", 30)
    with pytest.raises(UserError, match="null or a list of integers from 0 to 2"):
        read("pretraining", "mirror_axes", [3])


def test_a_fraction_is_no_number_of_epochs():
    with pytest.raises(UserError, match="an integer of at least 1"):
        read("pretraining", "num_epochs", 2.5)


def test_numbers_take_the_type_of_the_setting():
    assert type(read("pretraining", "num_epochs", 20.0)) is int
    assert type(read("pretraining", "temperature", 1)) is float
    assert read("pretraining", "zoom", [1, 2]) == (1.0, 2.0)
    assert read("pretraining", "mirror_axes", []) == ()


@pytest.mark.parametrize(
    ("block", "named"),
    [
        ({"pretraining": {"epochs": 3}}, ("pix2rep.pretraining.epochs", "num_epochs")),
        ({"pretrain": {}}, ("pix2rep.pretrain", "pretraining, finetuning")),
        ({"pretraining": 3}, ("pix2rep.pretraining", "3")),
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
    settings = ["pretraining.zoom=[0.6, 1.1]", "pretraining.mirror_axes=[0, 1]", "finetuning.num_epochs=7"]
    config = Pix2RepConfig().with_settings(settings)
    assert config != Pix2RepConfig()
    for block in (config.to_block(), json.loads(json.dumps(config.to_block()))):
        assert Pix2RepConfig.from_block(block, "") == config


def test_a_block_holds_every_setting_as_plain_values():
    block = Pix2RepConfig().to_block()
    assert {(part, name) for part in block for name in block[part]} == {(part, item.name) for part, item in SETTINGS}
    assert json.loads(json.dumps(block)) == block


def test_settings_are_read_as_json_and_else_as_text():
    parsed = parse_settings(
        ["pretraining.a=1", "pretraining.b = [0.5, 1]", "finetuning.c=null", "finetuning.d=last_stage"]
    )
    assert parsed == {"pretraining": {"a": 1, "b": [0.5, 1]}, "finetuning": {"c": None, "d": "last_stage"}}


@pytest.mark.parametrize("text", ["num_epochs=3", "pretraining.num_epochs", "pretraining.=3", ".num_epochs=3", "=", ""])
def test_settings_of_another_form_are_refused(text):
    with pytest.raises(UserError, match=r"--set.*pretraining\.num_epochs=200"):
        parse_settings([text])


def test_the_parts_of_the_config_are_the_parts_of_the_block():
    assert typing.get_type_hints(Pix2RepConfig) == PARTS
