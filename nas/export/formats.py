"""The formats that come with nas: `python` (source that needs torch only) and `json` (the architecture itself)."""

from pathlib import Path

from nas.export.exporter import Model, NotVerified
from nas.export.python_code import render
from nas.export.verify import MODEL_FILE, verify_model_file
from search_spaces.architecture import Architecture

ARCHITECTURE_FILE = "architecture.json"


class PythonExporter:
    """`model.py`: PyTorch source that runs without nas."""

    def write(self, model: Model, directory: Path) -> tuple[str, ...]:
        source = render(model.architecture, title=model.title, notes=model.notes)
        (directory / MODEL_FILE).write_text(source, encoding="utf-8", newline="\n")
        return (MODEL_FILE,)

    def verify(self, model: Model, directory: Path) -> None:
        verify_model_file(model, directory)


class JsonExporter:
    """`architecture.json`: what `Architecture.from_json` reads."""

    def write(self, model: Model, directory: Path) -> tuple[str, ...]:
        text = f"{model.architecture.to_json()}\n"
        (directory / ARCHITECTURE_FILE).write_text(text, encoding="utf-8", newline="\n")
        return (ARCHITECTURE_FILE,)

    def verify(self, model: Model, directory: Path) -> None:
        text = (directory / ARCHITECTURE_FILE).read_text(encoding="utf-8")
        if Architecture.from_json(text) != model.architecture:
            raise NotVerified(f"{ARCHITECTURE_FILE}, read again, is another architecture")
