"""Tiny pairs saved to folders, as a user has them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import processors
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from dera import RealignedModel
from dera.cli import main
from tests.dera.architectures import tiny, tiny_adapter
from tests.dera.tokenizers import word_tokenizer

#: Writes the beginning-of-sequence token w2 itself, as chat templates do.
CHAT = (
    "w2 {% for turn in messages %}"
    "{{ 'w10' if turn.role == 'system' else 'w11' }} {{ turn.content }} "
    "{% endfor %}w12"
)


def save(
    folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast | None = None
) -> str:
    """Save a model and its tokenizer in a folder; returns its path as users write it."""
    model.save_pretrained(folder)
    (tokenizer or word_tokenizer()).save_pretrained(folder)
    return str(folder)


def chat_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer with a chat template, which also begins each text with w2 by itself."""
    tokenizer = word_tokenizer()
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="w2 $A", special_tokens=[("w2", 2)]
    )
    tokenizer.chat_template = CHAT
    return tokenizer


def save_pair(
    folder: Path, architecture: str, tokenizer: PreTrainedTokenizerFast | None = None
) -> list[str]:
    """Save reference and aligned, the architecture's tiny models of seeds 1 and 2."""
    return [
        save(folder / "reference", tiny(architecture, 1), tokenizer),
        save(folder / "aligned", tiny(architecture, 2), tokenizer),
    ]


@pytest.fixture(scope="session")
def llamas(tmp_path_factory) -> list[str]:
    """Two decoders."""
    return save_pair(tmp_path_factory.mktemp("llamas"), "llama")


@pytest.fixture(scope="session")
def adapted(tmp_path_factory) -> list[str]:
    """A reference and an adapter on it, tiny("llama", 1) and tiny_adapter(tiny("llama", 1), 2)."""
    folder = tmp_path_factory.mktemp("adapted")
    reference = save(folder / "reference", tiny("llama", 1))
    tiny_adapter(tiny("llama", 1), 2).save_pretrained(folder / "aligned")
    return [reference, str(folder / "aligned")]


@pytest.fixture(scope="session")
def t5s(tmp_path_factory) -> list[str]:
    """Two encoder-decoders."""
    return save_pair(tmp_path_factory.mktemp("t5s"), "t5")


@pytest.fixture(scope="session")
def chats(tmp_path_factory) -> list[str]:
    """Two decoders whose tokenizer has a chat template."""
    return save_pair(tmp_path_factory.mktemp("chats"), "llama", chat_tokenizer())


@pytest.fixture
def no_model(monkeypatch):
    """Loading a model is a failure of the test, not an error message."""

    def refuse(*_, **__):
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(RealignedModel, "from_pretrained", refuse)


@pytest.fixture
def generated_with(monkeypatch) -> list[dict]:
    """The arguments of each call of `RealignedModel.generate`, its model under "self"."""
    calls: list[dict] = []
    original = RealignedModel.generate

    def generate(self, **arguments):
        calls.append({"self": self, **arguments})
        return original(self, **arguments)

    monkeypatch.setattr(RealignedModel, "generate", generate)
    return calls


@pytest.fixture
def dera(capsys):
    """Run a command; returns its exit status, its standard output and its standard error."""

    def run(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            status = main([str(word) for word in words])
        except SystemExit as stop:
            status = stop.code
        return status, *capsys.readouterr()

    return run
