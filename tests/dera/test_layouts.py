"""A reference that is an adapter, and models from everywhere that users have them.

The truth is a plain model for each part, made without dera: PEFT merges its adapters.
"""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import pytest
import torch
import transformers as tf
from peft import PeftModel
from torch import nn

from dera import RealignedModel
from tests.dera.architectures import EOS, PAD, VOCABULARY, tiny, tiny_adapter
from tests.dera.oracle import Oracle, mixed, part_logits
from tests.dera.tokenizers import word_tokenizer

IDS = [3, 4, 5, 6, 7]
BATCH = dict(
    input_ids=torch.tensor([IDS, [PAD, PAD, 9, 3, 9]]),
    attention_mask=torch.tensor([[1, 1, 1, 1, 1], [0, 0, 1, 1, 1]]),
)
GREEDY = dict(do_sample=False, max_new_tokens=6)
LAMS = (0.0, 0.4, 1.0, 2.0)


def save(model, folder) -> str:
    """Save a model with a tokenizer beside it; return the folder as text."""
    model.save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    return str(folder)


def save_adapter(base, seed, folder, names) -> str:
    """Save an adapter of `tiny_adapter` on a base; its configuration says that it is on `names`."""
    model = tiny_adapter(base, seed)
    model.peft_config["default"].base_model_name_or_path = names
    model.save_pretrained(folder)
    return str(folder)


def with_adapter(base, seed):
    """A plain model: a base with the adapter of `tiny_adapter` merged into it."""
    return tiny_adapter(base, seed).merge_and_unload()


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """The folders base, sft (on base), merged (sft in base), dpo (on base), on-sft, on-merged."""
    root = tmp_path_factory.mktemp("saved")
    base = save(tiny("llama", 1), root / "base")
    sft = save_adapter(tiny("llama", 1), 2, root / "sft", base)
    word_tokenizer().save_pretrained(sft)
    merged = save(with_adapter(tiny("llama", 1), 2), root / "merged")
    save_adapter(tiny("llama", 1), 3, root / "dpo", base)
    save_adapter(with_adapter(tiny("llama", 1), 2), 3, root / "on-sft", sft)
    save_adapter(with_adapter(tiny("llama", 1), 2), 3, root / "on-merged", merged)
    return root


@pytest.fixture(scope="module")
def truth() -> dict[str, torch.nn.Module]:
    """Plain models: the base, the SFT model, and what DPO made of the base and of the SFT model."""
    return {
        "base": tiny("llama", 1),
        "sft": with_adapter(tiny("llama", 1), 2),
        "beside": with_adapter(tiny("llama", 1), 3),
        "stacked": with_adapter(with_adapter(tiny("llama", 1), 2), 3),
    }


def mixes(model, *parts) -> bool:
    """Whether a model's logits are the mixture of plain models' at several lams."""
    expected = [part_logits(part, IDS) for part in parts]
    with torch.no_grad():
        got = [model(torch.tensor([IDS]), lam=lam).logits[0].double() for lam in LAMS]
    return all(
        torch.allclose(logits, mixed(expected, [lam]), atol=2e-4)
        for logits, lam in zip(got, LAMS, strict=True)
    )


# --- A reference that is an adapter ---


def test_two_adapters_on_one_base_lie_side_by_side_and_run_in_one_pass(saved, truth):
    with pytest.warns(UserWarning, match="both adapters are put on .*base, side by side"):
        model = RealignedModel.from_pretrained(saved / "sft", saved / "dpo", aligned_beta=0.1)
    assert mixes(model, truth["sft"], truth["beside"])
    # one base in memory, and one pass
    assert sum(p.numel() for p in model.parameters()) < 2 * truth["base"].num_parameters()
    assert model.one_pass is not None
    assert model.one_pass.ready
    # decoding with a cache and a lam a row; 0 is there alone in the second call
    oracle = Oracle([truth["sft"], truth["beside"]])
    for lams in ([0.5, 2.0], [0.0, 0.0]):
        expected = oracle.generate(
            **BATCH, lam=torch.tensor(lams)[:, None], use_cache=False, **GREEDY
        )
        assert torch.equal(model.generate(**BATCH, lam=lams, **GREEDY), expected)
    with torch.no_grad():
        peft = PeftModel.from_pretrained(tiny("llama", 1), saved / "sft").eval()
        ids = torch.tensor([IDS])
        assert torch.equal(model(ids, lam=0.0).logits, peft(ids).logits.float())


@pytest.mark.parametrize("merge", [False, True])
@pytest.mark.parametrize(
    ("adapter", "aligned_on", "aligned"),
    [
        ("dpo", "base", "beside"),
        ("dpo", "reference", "stacked"),
        ("on-sft", "reference", "stacked"),
        ("on-merged", "reference", "stacked"),
        ("on-sft", "base", "beside"),
    ],
)
def test_the_layout_that_the_user_names_is_used_in_silence(
    saved, truth, adapter, aligned_on, aligned, merge
):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model = RealignedModel.from_pretrained(
            saved / "sft", saved / adapter, aligned_on=aligned_on, merge_adapter=merge
        )
    assert mixes(model, truth["sft"], truth[aligned])


def test_an_adapter_that_names_the_reference_is_put_on_top_of_it(saved, truth):
    with pytest.warns(UserWarning, match="with the reference's adapter merged into it"):
        model = RealignedModel.from_pretrained(saved / "sft", saved / "on-sft")
    assert mixes(model, truth["sft"], truth["stacked"])
    # the merged model in a folder of its own is a reference as any other
    model = RealignedModel.from_pretrained(saved / "merged", saved / "on-merged")
    assert mixes(model, truth["sft"], truth["stacked"])


def test_folders_that_have_moved_are_told_by_their_names(saved, truth, tmp_path):
    there = shutil.copytree(saved, tmp_path / "there")
    for name in ("sft", "dpo", "on-sft"):
        path = there / name / "adapter_config.json"
        config = json.loads(path.read_text())
        old = Path(config["base_model_name_or_path"]).name
        path.write_text(json.dumps(config | {"base_model_name_or_path": f"/gone/{old}"}))
    with pytest.raises(FileNotFoundError, match="sft is an adapter on /gone/base, which is not"):
        RealignedModel.from_pretrained(there / "sft", there / "dpo")
    for adapter, aligned in (("dpo", "beside"), ("on-sft", "stacked")):
        with pytest.warns(UserWarning, match="aligned_on="):
            model = RealignedModel.from_pretrained(
                there / "sft", there / adapter, base=there / "base"
            )
        assert mixes(model, truth["sft"], truth[aligned])


def test_several_aligned_models_may_be_of_each_kind(saved, truth):
    whole = {"beside": saved / "dpo", "stacked": saved / "on-sft", "whole": saved / "merged"}
    with pytest.warns(UserWarning, match="aligned_on="):
        model = RealignedModel.from_pretrained(saved / "sft", whole)
    parts = [truth["sft"], truth["beside"], truth["stacked"], truth["sft"]]
    weights = [0.5, -0.3, 0.6]
    expected = mixed([part_logits(part, IDS) for part in parts], weights)
    with torch.no_grad():
        got = model(torch.tensor([IDS]), lam=weights).logits[0].double()
    assert torch.allclose(got, expected, atol=2e-4)


def test_an_adapter_of_an_unclear_base_is_refused_until_the_user_says_it(saved, truth):
    message = "on-merged names .*merged as its base, which is not clearly"
    with pytest.raises(ValueError, match=message):
        RealignedModel.from_pretrained(saved / "sft", saved / "on-merged")
    # both remedies of the message
    for aligned_on, aligned in (("reference", "stacked"), ("base", "beside")):
        model = RealignedModel.from_pretrained(
            saved / "sft", saved / "on-merged", aligned_on=aligned_on
        )
        assert mixes(model, truth["sft"], truth[aligned])


def test_bases_that_help_nobody_are_refused(saved, tmp_path):
    with pytest.raises(ValueError, match="base=.* is for a reference that is an adapter"):
        RealignedModel.from_pretrained(saved / "base", saved / "dpo", base=saved / "base")
    with pytest.raises(ValueError, match="aligned_on='base' is for a reference that is an adapter"):
        RealignedModel.from_pretrained(saved / "base", saved / "dpo", aligned_on="base")
    with pytest.raises(ValueError, match="aligned_on='base' is for an aligned adapter"):
        RealignedModel.from_pretrained(saved / "sft", saved / "merged", aligned_on="base")
    with pytest.raises(ValueError, match="aligned_on must be 'base' or 'reference', got 'sft'"):
        RealignedModel.from_pretrained(saved / "sft", saved / "dpo", aligned_on="sft")
    with pytest.raises(ValueError, match="on-sft is an adapter on .*sft, which is an adapter too"):
        RealignedModel.from_pretrained(saved / "on-sft", saved / "dpo")
    nameless = save_adapter(tiny("llama", 1), 2, tmp_path / "nameless", None)
    with pytest.raises(ValueError, match="nameless is an adapter that names no base"):
        RealignedModel.from_pretrained(nameless, saved / "dpo")
    with pytest.raises(ValueError, match="cannot be called 'reference'"):
        RealignedModel.from_pretrained(saved / "sft", {"reference": saved / "dpo"})


def test_an_adapter_of_a_peft_model_in_memory_is_the_reference(saved, truth):
    model = PeftModel.from_pretrained(tiny("llama", 1), saved / "sft", adapter_name="sft")
    with pytest.raises(ValueError, match="no adapter but the reference 'sft'"):
        RealignedModel("sft", model)
    model.load_adapter(saved / "dpo", adapter_name="dpo")
    model.eval()
    assert mixes(RealignedModel("sft", model), truth["sft"], truth["beside"])
    assert mixes(RealignedModel("dpo", model, adapters=["sft"]), truth["beside"], truth["sft"])
    assert mixes(RealignedModel(None, model, adapters=["dpo"]), truth["base"], truth["beside"])
    with pytest.raises(ValueError, match=r"'SFT' is not an adapter.*\['sft', 'dpo'\]"):
        RealignedModel("SFT", model)
    with pytest.raises(ValueError, match="'sft' is both the reference and in adapters"):
        RealignedModel("sft", model, adapters=["sft"])


# --- Revisions and subfolders ---


def hub_cache(folder: Path, repositories: dict[str, dict[str, Path]]) -> str:
    """Lay out a cache as the Hub's client does: for each repository its revisions and contents."""
    for repository, revisions in repositories.items():
        place = folder / f"models--{repository.replace('/', '--')}"
        (place / "refs").mkdir(parents=True)
        for number, (revision, content) in enumerate(revisions.items()):
            commit = str(number) * 40
            (place / "refs" / revision).write_text(commit)
            shutil.copytree(content, place / "snapshots" / commit)
    return str(folder)


def test_each_model_has_its_own_revision_and_subfolder(saved, truth, tmp_path):
    runs = tmp_path / "runs"
    for name in ("dpo", "on-merged"):
        shutil.copytree(saved / name, runs / name)
    cache = hub_cache(
        tmp_path / "cache",
        {
            "owner/model": {"main": saved / "base", "sft": saved / "merged"},
            "owner/runs": {"main": runs},
        },
    )
    hub = dict(cache_dir=cache, local_files_only=True)
    with pytest.warns(UserWarning, match="trained on"):
        model = RealignedModel.from_pretrained(
            "owner/model",
            "owner/runs",
            revision={"reference": "sft"},
            subfolder={"aligned": "on-merged"},
            **hub,
        )
    assert mixes(model, truth["sft"], truth["stacked"])
    whole = RealignedModel.from_pretrained(
        "owner/model", "owner/model", revision={"aligned": "sft"}, **hub
    )
    assert mixes(whole, truth["base"], truth["sft"])
    both = RealignedModel.from_pretrained("owner/model", "owner/model", revision="sft", **hub)
    assert mixes(both, truth["sft"], truth["sft"])
    with pytest.raises(OSError, match="owner/model at revision v9"):
        RealignedModel.from_pretrained("owner/model", "owner/model", revision="v9", **hub)


def test_subfolders_of_folders_are_joined_and_revisions_of_folders_refused(saved, truth):
    model = RealignedModel.from_pretrained(
        saved, saved, subfolder={"reference": "base", "aligned": "dpo"}
    )
    assert mixes(model, truth["base"], truth["beside"])
    with pytest.raises(FileNotFoundError, match="has no subfolder 'none'"):
        RealignedModel.from_pretrained(saved, saved, subfolder="none")
    for revision in ("v1", {"aligned": "v1"}):
        with pytest.raises(ValueError, match="'v1' is for a model on the Hub"):
            RealignedModel.from_pretrained(saved / "base", saved / "dpo", revision=revision)
    with pytest.raises(ValueError, match=r"revision= names \['dpo'\], but the models are"):
        RealignedModel.from_pretrained(saved / "base", saved / "dpo", revision={"dpo": "v1"})


# --- Models of images and text, read for text ---

_TEXT = dict(
    vocab_size=VOCABULARY,
    hidden_size=16,
    intermediate_size=24,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=1,
    initializer_range=0.6,
    bos_token_id=None,
    eos_token_id=EOS,
    pad_token_id=PAD,
)
_VISION = dict(
    hidden_size=8,
    intermediate_size=8,
    num_hidden_layers=1,
    num_attention_heads=1,
    image_size=4,
    patch_size=2,
)


def multimodal(kind: str, seed: int):
    """A tiny model of images and text."""
    torch.manual_seed(seed)
    if kind == "llava":
        config = tf.LlavaConfig(
            text_config=tf.LlamaConfig(**_TEXT),
            vision_config=tf.CLIPVisionConfig(**_VISION),
            image_token_id=12,
        )
        return tf.LlavaForConditionalGeneration(config).eval()
    if kind == "gemma3":
        config = tf.Gemma3Config(
            text_config=tf.Gemma3TextConfig(**_TEXT, head_dim=8, sliding_window=4),
            vision_config=tf.SiglipVisionConfig(**_VISION),
            mm_tokens_per_image=1,
            image_token_index=12,
        )
        return tf.Gemma3ForConditionalGeneration(config).eval()
    rope = {"type": "default", "mrope_section": [1, 1, 2]}
    config = tf.Qwen2VLConfig(
        text_config={**_TEXT, "rope_scaling": rope},
        vision_config=dict(depth=1, embed_dim=8, hidden_size=16, num_heads=1),
        image_token_id=12,
        video_token_id=11,
    )
    return tf.Qwen2VLForConditionalGeneration(config).eval()


@pytest.mark.parametrize("kind", ["llava", "gemma3", "qwen2-vl"])
def test_models_of_images_and_text_continue_text_from_disk(kind, tmp_path):
    whole = multimodal(kind, 1), multimodal(kind, 2)
    paths = [save(model, tmp_path / str(index)) for index, model in enumerate(whole)]
    model = RealignedModel.from_pretrained(*paths)
    assert mixes(model, *whole)
    in_memory = RealignedModel(*whole)
    expected = in_memory.generate(**BATCH, lam=0.5, **GREEDY)
    assert torch.equal(model.generate(**BATCH, lam=0.5, **GREEDY), expected)


# --- What is no language model ---


class ValueHead(nn.Module):
    """A model with a value head, with the names that TRL gives the two."""

    def __init__(self, model):
        super().__init__()
        self.pretrained_model = model
        self.v_head = nn.Linear(16, 1)


WRAPPERS = {
    "compiled": lambda model: torch.compile(model, backend="eager"),
    "data parallel": nn.DataParallel,
    "value head": ValueHead,
    "compiled and data parallel": lambda m: nn.DataParallel(torch.compile(m, backend="eager")),
}


@pytest.mark.filterwarnings("ignore:.*is compiled by itself")
@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_wrapped_models_are_taken_for_the_model_inside(wrap):
    plain = tiny("llama", 1), tiny("llama", 2)
    assert mixes(RealignedModel(plain[0], wrap(tiny("llama", 2))), *plain)
    assert mixes(RealignedModel(wrap(tiny("llama", 1)), {"kind": tiny("llama", 2)}), *plain)
    merged = with_adapter(tiny("llama", 1), 3)
    assert mixes(RealignedModel(None, wrap(tiny_adapter(tiny("llama", 1), 3))), plain[0], merged)


def classifier():
    config = tiny("llama", 1).config
    config.num_labels = 1
    return tf.LlamaForSequenceClassification(config)


class FullyShardedDataParallel(nn.Module):
    """A stand-in that has torch's name, because torch's own needs several processes."""


NO_MODELS = {
    "no head": (
        lambda: tiny("llama", 2).model,
        "'aligned' is a LlamaModel, which does not predict",
    ),
    "reward model": (classifier, "is a LlamaForSequenceClassification, which does not predict"),
    "adapter on a reward model": (
        lambda: tiny_adapter(classifier(), 2, task_type="SEQ_CLS"),
        "is a LlamaForSequenceClassification, which does not predict",
    ),
    "encoder": (lambda: tiny("t5", 1).encoder, "is a T5Stack, which does not predict"),
    "tokenizer": (word_tokenizer, "is a tokenizer, TokenizersBackend: give the model here"),
    "path": (lambda: "models/aligned", "use RealignedModel.from_pretrained"),
    "path object": (lambda: Path("models/aligned"), "'aligned' is a path, 'models/aligned'"),
    "class": (lambda: tf.LlamaForCausalLM, "is the class LlamaForCausalLM and no model"),
    "module": (lambda: nn.Linear(2, 2), "is a Linear, which is no model of transformers"),
    "nothing": (lambda: None, "is a NoneType, which is no model"),
    "sharded": (FullyShardedDataParallel, "weights on other processes"),
    "pair": (lambda: RealignedModel(tiny("llama", 1), tiny("llama", 2)), "is a realigned model"),
}


@pytest.mark.parametrize(("make", "message"), NO_MODELS.values(), ids=NO_MODELS)
def test_what_is_no_language_model_is_refused_by_name(make, message):
    given = make()
    with pytest.raises((TypeError, ValueError), match=message):
        RealignedModel(tiny("llama", 1), given)
    if given is not None:
        with pytest.raises(
            (TypeError, ValueError), match=message.replace("aligned' is", "ref.*' is")
        ):
            RealignedModel(given, tiny("llama", 1))


def test_models_instead_of_paths_are_sent_to_the_constructor(saved):
    model = tiny("llama", 1)
    for pair in ((model, saved / "base"), (saved / "base", model), (saved / "base", [model])):
        with pytest.raises(TypeError, match="takes folders and Hub ids, got a LlamaForCausalLM"):
            RealignedModel.from_pretrained(*pair)


def _empty(folder):
    folder.mkdir()


def _tokenizer_alone(folder):
    word_tokenizer().save_pretrained(folder)


def _output_of_a_trainer(folder):
    save(tiny("llama", 2), folder / "checkpoint-9")


def _no_weights(folder):
    tiny("llama", 2).config.save_pretrained(folder)
    torch.save({}, folder / "training_args.bin")


def _pickled(folder):
    save(tiny("llama", 2), folder)
    (folder / "model.safetensors").unlink()
    torch.save(tiny("llama", 2).state_dict(), folder / "pytorch_model.bin")


def _gguf(folder):
    folder.mkdir()
    (folder / "model.gguf").write_bytes(b"GGUF")


def _reward_model(folder):
    save(classifier(), folder)


def _masked(folder):
    config = tf.BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=8,
    )
    save(tf.BertForMaskedLM(config), folder)


def _no_head(folder):
    save(tiny("llama", 2).model, folder)


FOLDERS = {
    "empty": (_empty, "it is empty"),
    "a tokenizer": (_tokenizer_alone, "it holds a tokenizer but no config.json and no model"),
    "checkpoints": (_output_of_a_trainer, "checkpoints checkpoint-9: name one of them, such as"),
    "no weights": (_no_weights, "a config.json but no weights"),
    "pickled": (_pickled, "has no safetensors weights"),
    "GGUF": (_gguf, "holds a GGUF file. Load the GGUF file with .*gguf_file='model.gguf'"),
    "reward model": (_reward_model, "saved as a LlamaForSequenceClassification, which does not"),
    "masked": (_masked, "saved as a BertForMaskedLM, which does not predict next tokens"),
    "no head": (_no_head, "no weights for lm_head.weight .* saved as a LlamaModel"),
}


@pytest.mark.parametrize(("make", "message"), FOLDERS.values(), ids=FOLDERS)
def test_a_folder_without_a_language_model_is_refused_by_what_it_holds(
    make, message, saved, tmp_path
):
    make(tmp_path / "given")
    for pair in ((saved / "base", tmp_path / "given"), (tmp_path / "given", saved / "base")):
        with pytest.raises((ValueError, OSError), match=f"given.*{message}"):
            RealignedModel.from_pretrained(*pair)


def test_the_remedies_for_folders_work(saved, truth, tmp_path):
    _output_of_a_trainer(tmp_path / "run")
    base = saved / "base"
    inside = RealignedModel.from_pretrained(
        base, tmp_path / "run", subfolder={"aligned": "checkpoint-9"}
    )
    assert mixes(inside, truth["base"], tiny("llama", 2))
    # pickled weights, loaded and saved again by transformers
    _pickled(tmp_path / "pickled")
    tf.AutoModelForCausalLM.from_pretrained(tmp_path / "pickled").save_pretrained(tmp_path / "new")
    word_tokenizer().save_pretrained(tmp_path / "new")
    model = RealignedModel.from_pretrained(base, tmp_path / "new")
    assert mixes(model, truth["base"], tiny("llama", 2))
    # a model without a head that needs none: the table of embeddings is the head
    tied = tiny("llama", 2, tie_word_embeddings=True)
    model = RealignedModel.from_pretrained(base, save(tied.model, tmp_path / "tied"))
    assert mixes(model, truth["base"], tied)


def test_a_file_in_place_of_a_folder_is_refused(saved, tmp_path):
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    with pytest.raises(ValueError, match="model.gguf is a file.*gguf_file='model.gguf'"):
        RealignedModel.from_pretrained(saved / "base", tmp_path / "model.gguf")
    with pytest.raises(ValueError, match="is a file, not the folder of a model. Name the folder"):
        RealignedModel.from_pretrained(saved / "base", saved / "base" / "model.safetensors")


def test_two_chat_templates_are_said(saved, tmp_path):
    other = shutil.copytree(saved / "merged", tmp_path / "other")
    tokenizer = word_tokenizer()
    tokenizer.chat_template = "{% for turn in messages %}w5 {{ turn.content }} {% endfor %}"
    tokenizer.save_pretrained(other)
    with pytest.warns(UserWarning, match="different chat templates"):
        RealignedModel.from_pretrained(saved / "base", other)
