"""The list of subcommands in ``--help``, and the completion of the shell that is made from the same parser."""

import keyword
import shutil
import subprocess
from pathlib import Path

import pytest
import shtab

from nnunet_pix2rep.cli import main as main_module
from nnunet_pix2rep.cli.main import COMMANDS, SUBCOMMANDS, build_parser

CLI = Path(main_module.__file__).parent
TERMINAL = 80  # columns


def test_every_module_of_a_subcommand_is_in_the_folder_of_its_purpose_and_listed():
    files = [file for file in CLI.rglob("*.py") if "\nHELP = " in file.read_text(encoding="utf-8")]
    listed = [
        (purpose, f"{name}_" if keyword.iskeyword(name) else name) for purpose in COMMANDS for name in COMMANDS[purpose]
    ]
    assert sorted(listed) == sorted((file.parent.name, file.stem) for file in files)
    assert len(set(SUBCOMMANDS)) == len(SUBCOMMANDS)


def test_help_gives_each_subcommand_a_line_under_its_purpose(capsys):
    with pytest.raises(SystemExit):
        main_module.main(["--help"])
    shown = capsys.readouterr().out
    blocks = [block.splitlines() for block in shown.split("\n\n") if block.splitlines()[0] in COMMANDS]
    listed = {purpose: [line.split()[0] for line in lines] for purpose, *lines in blocks}
    assert listed == {purpose: list(group) for purpose, group in COMMANDS.items()}
    assert max(map(len, shown.splitlines())) <= TERMINAL


def test_a_subcommand_without_a_name_or_with_a_wrong_one_is_refused(capsys):
    for arguments in ([], ["sugest"]):
        with pytest.raises(SystemExit) as end:
            main_module.main(arguments)
        assert end.value.code == 2
    assert "sugest" in capsys.readouterr().err


def completions(script, *words):
    """What bash offers for the last of the words."""
    line = f"COMP_WORDS=({' '.join(map(repr, words))}); COMP_CWORD={len(words) - 1}; COMPREPLY=()"
    program = f'{script}\n{line}\n_shtab_nnunet_pix2rep\nprintf "%s\\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_subcommands_their_options_and_choices():
    script = shtab.complete(build_parser(), "bash")
    assert set(completions(script, "nnunet_pix2rep", "")) >= set(SUBCOMMANDS)
    assert completions(script, "nnunet_pix2rep", "sug") == ["suggest"]
    assert completions(script, "nnunet_pix2rep", "suggest", "--sli") == ["--slices"]
    assert "one_per_patient" in completions(script, "nnunet_pix2rep", "suggest", "--selector", "one")
