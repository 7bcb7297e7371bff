from pathlib import Path

from nnunet_pix2rep.cli.train.settings import settings_page

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "settings.md"


def test_the_documentation_lists_the_settings_as_they_are():
    how = "run: nnunet_pix2rep settings > docs/reference/settings.md"
    assert PAGE.read_text(encoding="utf-8") == settings_page(), how
