import argparse

from nnunet_pix2rep.cli.start import trainers
from nnunet_pix2rep.installation import trainers_folder


def test_prints_the_folder_and_nothing_else(capsys):
    assert trainers.run(argparse.Namespace()) == 0
    assert capsys.readouterr().out == f"{trainers_folder()}\n"
