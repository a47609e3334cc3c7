"""The tree: small files, small folders. Who may import whom is import-linter's (make lint)."""

from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "intfit"


def test_no_file_has_more_than_400_lines_and_no_folder_more_than_a_dozen_modules():
    files = list(PACKAGE.rglob("*.py"))
    templates = [file for file in (PACKAGE / "view" / "templates").iterdir() if file.is_file()]
    assert files
    assert templates
    written = files + templates
    long = {str(file): n for file in written if (n := len(file.read_text().splitlines())) > 400}
    assert not long
    full = {
        str(folder): n
        for folder in {file.parent for file in files} - {PACKAGE}
        if (n := len(list(folder.glob("*.py"))) - 1) > 12
    }
    assert not full
