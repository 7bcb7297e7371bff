import pytest
from command_line import SHORT
from tutorial_pages import TUTORIALS, commands_of, shortened

PAGES = sorted(page.name for page in TUTORIALS.glob("*_*d.md"))


@pytest.mark.parametrize("page", PAGES)
def test_a_page_goes_from_scans_to_predictions(page):
    programs = [command[1] if command[0] == "nnunet_pix2rep" else command[0] for command in commands_of(page)]
    wanted = ["new_dataset", "nnUNetv2_train", "suggest", "collect", "nnUNetv2_train", "nnUNetv2_predict"]
    assert [program for program in programs if program in wanted][: len(wanted)] == wanted


@pytest.mark.parametrize("page", PAGES)
def test_tests_change_lengths_and_nothing_else(page):
    for command in commands_of(page):
        short = shortened(command)
        if command[1] == "plan":
            assert set(SHORT) <= set(short)
            assert not [word for word in short if word.startswith("pretraining.num_epochs")][1:]
        elif command[1] == "suggest":
            place = command.index("--slices") + 1
            assert int(short[place]) < int(command[place])
            assert [*short[:place], *short[place + 1 :]] == [*command[:place], *command[place + 1 :]]
        else:
            assert short == tuple(command)
