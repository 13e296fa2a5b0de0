"""Models that do not belong together are refused before anything is decoded, with the reason.

Models that belong together load from folders.
"""

import json
import shutil
import warnings

import pytest
import torch
import transformers as tf
from peft import LoraConfig, PeftModel, get_peft_model
from tokenizers import Tokenizer
from torch import nn

from dera import RealignedModel
from tests.dera.architectures import PAD, VOCABULARY, tiny, tiny_adapter
from tests.dera.oracle import Oracle
from tests.dera.tokenizers import word_tokenizer

BATCH = dict(
    input_ids=torch.tensor([[3, 4, 5, 6, 7], [PAD, PAD, PAD, 8, 2], [PAD, PAD, 9, 3, 9]]),
    attention_mask=torch.tensor([[1, 1, 1, 1, 1], [0, 0, 0, 1, 1], [0, 0, 1, 1, 1]]),
)
GREEDY = dict(do_sample=False, max_new_tokens=8)
TASK = {"llama": "CAUSAL_LM", "t5": "SEQ_2_SEQ_LM"}


def save(model, folder, tokenizer=None):
    """Save a model with a tokenizer beside it; return the folder as text."""
    model.save_pretrained(folder)
    (tokenizer or word_tokenizer()).save_pretrained(folder)
    return str(folder)


def adapter_on(path, folder, seed=3, **settings):
    """Save an adapter on the model at `path`; return its folder and the model with it merged."""
    is_seq2seq = tf.AutoConfig.from_pretrained(path).is_encoder_decoder
    auto = tf.AutoModelForSeq2SeqLM if is_seq2seq else tf.AutoModelForCausalLM
    settings = dict(r=2, target_modules="all-linear", task_type="CAUSAL_LM") | settings
    model = get_peft_model(auto.from_pretrained(path), LoraConfig(**settings))
    torch.manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    return str(folder), model.eval().merge_and_unload()


def decodes_as(model, whole, lam, rows):
    """Whether a model decodes as the oracle of plain models that were not loaded by us.

    Args:
        whole: the plain models.
        lam: what `generate` gets.
        rows: what `lam` means: a list for each row, with a number for each aligned model.
    """
    got = model.generate(**BATCH, lam=lam, **GREEDY)
    oracle = Oracle(whole)
    return torch.equal(
        got, oracle.generate(**BATCH, lam=torch.tensor(rows), use_cache=False, **GREEDY)
    )


@pytest.fixture(scope="module")
def saved_once(tmp_path_factory):
    """A folder with a reference and an aligned model, which tests copy."""
    folder = tmp_path_factory.mktemp("saved")
    save(tiny("llama", 1), folder / "reference")
    save(tiny("llama", 2), folder / "aligned")
    return folder


@pytest.fixture
def reference(saved_once, tmp_path):
    return str(shutil.copytree(saved_once / "reference", tmp_path / "reference"))


@pytest.fixture
def aligned(saved_once, tmp_path):
    return str(shutil.copytree(saved_once / "aligned", tmp_path / "aligned"))


@pytest.fixture
def built():
    return RealignedModel(tiny("llama", 1), tiny("llama", 2))


# --- Models and arguments that are refused ---


def test_tokenizers_that_swap_two_tokens_are_refused(reference, tmp_path):
    content = json.loads(word_tokenizer().backend_tokenizer.to_str())
    ids = content["model"]["vocab"]
    ids["w2"], ids["w3"] = ids["w3"], ids["w2"]
    swapped = tf.PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(content)),
        eos_token="<eos>",
        pad_token="<pad>",
    )
    other = save(tiny("llama", 2), tmp_path / "other", swapped)
    with pytest.raises(ValueError, match="different tokenizers.*'w2' is 2 and 3; 'w3' is 3 and 2"):
        RealignedModel.from_pretrained(reference, other)


def test_a_tokenizer_with_one_more_token_is_refused(reference, tmp_path):
    more = word_tokenizer()
    more.add_tokens(["w99"])
    other = save(tiny("llama", 2, vocab_size=VOCABULARY + 1), tmp_path / "other", more)
    with pytest.raises(ValueError, match="different tokenizers.*'w99' is absent and 13"):
        RealignedModel.from_pretrained(reference, other)
    with pytest.raises(ValueError, match="different tokenizers.*'w99' is 13 and absent"):
        RealignedModel.from_pretrained(other, [reference])


def test_a_tokenizer_with_more_tokens_than_a_table_has_rows_is_refused(tmp_path):
    paths = [
        save(tiny("llama", i, vocab_size=size), tmp_path / f"{i}")
        for i, size in ((1, VOCABULARY - 1), (2, VOCABULARY))
    ]
    with pytest.raises(ValueError, match="uses 13 token ids, but the models' tables have .*12"):
        RealignedModel.from_pretrained(*paths)


def test_tables_that_differ_by_more_than_padding_are_refused():
    small, large = tiny("llama", 1), tiny("llama", 2, vocab_size=VOCABULARY + 513)
    with pytest.raises(ValueError, match="differ by more than padding"):
        RealignedModel(small, large)
    with pytest.raises(ValueError, match="differ by more than padding"):
        RealignedModel(large, small)
    # the tokenizer says that the rows are unused
    RealignedModel(small, large, tokenizer=word_tokenizer())


@pytest.mark.parametrize("architecture", ["llama", "t5"])
def test_unused_rows_of_the_larger_table_are_never_chosen(architecture):
    reference, aligned = tiny(architecture, 1), tiny(architecture, 2, vocab_size=VOCABULARY + 3)
    head = aligned.get_output_embeddings()
    # the unused rows get a large probability, as untrained rows may have
    head.weight.data[VOCABULARY:] = 50 * torch.randn(3, head.weight.shape[1])
    arguments = dict(do_sample=True, top_k=0, max_new_tokens=8, num_return_sequences=10)
    assert (aligned.generate(**BATCH, **arguments) >= VOCABULARY).any()
    for model in (RealignedModel(reference, aligned), RealignedModel(aligned, reference)):
        assert model.config.vocab_size == VOCABULARY
        for lam in (-0.5, 0.0, 1.0, 3.0):
            torch.manual_seed(0)
            assert model.generate(**BATCH, lam=lam, **arguments).max() < VOCABULARY


def test_an_encoder_decoder_with_a_decoder_only_model_is_refused(reference, tmp_path):
    other = save(tiny("t5", 2), tmp_path / "other")
    with pytest.raises(ValueError, match="of one kind.*decoder-only.*encoder-decoder"):
        RealignedModel.from_pretrained(reference, other)
    with pytest.raises(ValueError, match="of one kind.*encoder-decoder.*decoder-only"):
        RealignedModel(tiny("t5", 1), tiny("llama", 2))
    with pytest.raises(ValueError, match="of one kind"):
        RealignedModel(tiny("llama", 1), [tiny("llama", 2), tiny("t5", 2)])


@pytest.mark.parametrize("lam", [float("nan"), float("inf"), [1.0, float("-inf")]])
def test_lam_that_is_not_finite_is_refused(lam):
    aligned = [tiny("llama", seed) for seed in ((2, 3) if isinstance(lam, list) else (2,))]
    models = tiny("llama", 1), aligned
    with pytest.raises(ValueError, match="lam must be finite"):
        RealignedModel(*models, lam=lam)
    with pytest.raises(ValueError, match="lam must be finite"):
        RealignedModel(*models).generate(**BATCH, **GREEDY, lam=lam)


def test_lam_of_a_wrong_length_or_name_is_refused_before_a_model_runs(built):
    two = RealignedModel(tiny("llama", 1), {"kind": tiny("llama", 2), "brief": tiny("llama", 3)})
    calls = []
    for model in (built, two):
        model.reference.register_forward_hook(lambda *_: calls.append(1))
    with pytest.raises(ValueError, match=r"shape \(2,\), but the batch has 3 rows"):
        built.generate(**BATCH, **GREEDY, lam=[0.5, 1.0])
    with pytest.raises(
        ValueError, match="one number for each of the 2 aligned models .'kind', 'brief'."
    ):
        two.generate(**BATCH, **GREEDY, lam=[0.5, 1.0, 2.0])
    with pytest.raises(ValueError, match="one number for each of the 2 aligned models"):
        two.generate(**BATCH, **GREEDY, lam=0.5)
    with pytest.raises(
        ValueError, match="lam names .'kidn'., but the aligned models are .'kind', 'brief'."
    ):
        two.generate(**BATCH, **GREEDY, lam={"kidn": 0.5})
    with pytest.raises(ValueError, match="lam= is needed"):
        two.generate(**BATCH, **GREEDY)
    with pytest.raises(ValueError, match="one number for each of the 2 aligned models"):
        RealignedModel(tiny("llama", 1), [tiny("llama", 2)] * 2, lam=[1.0])
    assert not calls


@pytest.mark.parametrize("beta", [0.0, -1.0, float("nan"), float("inf")])
def test_beta_that_is_no_strength_is_refused(beta):
    model = RealignedModel(tiny("llama", 1), tiny("llama", 2), aligned_beta=0.1)
    with pytest.raises(ValueError, match="beta must be a positive finite number"):
        model.generate(**BATCH, beta=beta)


def test_beta_is_refused_where_it_names_no_single_lam(built):
    with pytest.raises(ValueError, match="pass aligned_beta="):
        built.generate(**BATCH, beta=0.1)
    with pytest.raises(ValueError, match="not both"):
        built.generate(**BATCH, beta=0.1, lam=1.0)
    two = RealignedModel(tiny("llama", 1), [tiny("llama", 2), tiny("llama", 3)], aligned_beta=0.1)
    with pytest.raises(ValueError, match="beta= is for one aligned model"):
        two.generate(**BATCH, beta=0.1)


OTHER_BASES = {
    "other shapes": ("llama", dict(hidden_size=32)),
    "deeper": ("llama", dict(num_hidden_layers=3)),
    "less deep": ("llama", dict(num_hidden_layers=1)),
    "other modules": ("gpt2", {}),
}


@pytest.mark.parametrize("merge", [False, True])
@pytest.mark.parametrize("other", OTHER_BASES)
def test_an_adapter_of_another_base_is_refused(reference, tmp_path, other, merge):
    architecture, changes = OTHER_BASES[other]
    # the folder has the same name, so that only the weights tell the two apart
    base = save(tiny(architecture, 5, **changes), tmp_path / "elsewhere" / "reference")
    # module names without their layer stand for modules of all layers, however many
    modules = ["c_attn", "c_fc"] if architecture == "gpt2" else ["q_proj", "up_proj"]
    adapter, _ = adapter_on(base, tmp_path / "adapter", target_modules=modules)
    with pytest.raises(
        ValueError, match=f"{adapter} does not fit {reference}.*was it trained on another base"
    ):
        RealignedModel.from_pretrained(reference, adapter, merge_adapter=merge)


@pytest.mark.parametrize("change", ["biases", "embeddings"])
def test_an_adapter_that_changes_its_base_must_be_merged(tmp_path, change):
    """The base with such an adapter off is not the reference, which must be kept beside it."""
    base = save(tiny("gpt2", 1), tmp_path / "reference")
    bias = "all" if change == "biases" else "none"
    config = LoraConfig(r=2, target_modules=["c_attn"], task_type="CAUSAL_LM", bias=bias)
    model = get_peft_model(tf.AutoModelForCausalLM.from_pretrained(base), config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("c_attn.base_layer.bias" if change == "biases" else "wte.weight"):
                parameter += torch.randn_like(parameter)
    model.save_pretrained(tmp_path / "adapter", save_embedding_layers=change == "embeddings")
    with pytest.raises(ValueError, match="also changes weights of its base"):
        RealignedModel.from_pretrained(base, tmp_path / "adapter")
    merged = RealignedModel.from_pretrained(base, tmp_path / "adapter", merge_adapter=True)
    with torch.no_grad():
        expected = tiny("gpt2", 1)(**with_positions()).logits
        assert torch.equal(merged(**BATCH, lam=0).logits, expected)


def with_positions():
    """The batch for a plain model, which does not count positions from the mask."""
    return BATCH | {"position_ids": (BATCH["attention_mask"].cumsum(-1) - 1).clamp(min=0)}


def test_an_adapter_s_own_tokenizer_must_be_the_reference_s(reference, tmp_path):
    adapter, _ = adapter_on(reference, tmp_path / "adapter")
    word_tokenizer().save_pretrained(adapter)
    RealignedModel.from_pretrained(reference, adapter)
    more = word_tokenizer()
    more.add_tokens(["w99"])
    more.save_pretrained(adapter)
    with pytest.raises(ValueError, match="different tokenizers.*'w99'"):
        RealignedModel.from_pretrained(reference, adapter)


def test_a_peft_model_on_the_reference_itself_is_taken_alone_only():
    """PEFT writes the adapter into the model that it is given, which is then no plain reference.

    A single such model is taken for a base with an adapter. Among several models it is refused.
    """
    base = tiny("llama", 1)
    adapted = tiny_adapter(base, 2)
    model = RealignedModel(base, adapted)
    with torch.no_grad():
        expected = tiny("llama", 1)(**with_positions()).logits
        assert torch.equal(model(**BATCH, lam=0).logits, expected)
        assert not torch.equal(model(**BATCH, lam=0).logits, model(**BATCH, lam=1).logits)
    with pytest.raises(ValueError, match="'0' is a PEFT model on the reference itself"):
        RealignedModel(base, [adapted, tiny("llama", 3)])


def test_an_added_token_without_a_row_in_any_table_only_causes_a_warning(tmp_path):
    """Some text models keep a special token of a larger family.

    A token without a row in one of the tables is refused.
    """
    tokenizer = word_tokenizer()
    tokenizer.add_tokens(["<image>"], special_tokens=True)
    with pytest.warns(UserWarning, match="no row for the added tokens.*<image>"):
        RealignedModel(tiny("llama", 1), tiny("llama", 2), tokenizer=tokenizer)
    with pytest.raises(ValueError, match="do not belong together"):
        RealignedModel(tiny("llama", 1), tiny("llama", 2, vocab_size=12), tokenizer=tokenizer)


def test_a_model_without_attention_is_refused():
    config = tf.MambaConfig(vocab_size=13, hidden_size=16, num_hidden_layers=1)
    with pytest.raises(ValueError, match="only models with attention"):
        RealignedModel(tiny("llama", 1), tf.MambaForCausalLM(config))


def test_unknown_and_bad_arguments_are_refused(built):
    with pytest.raises(TypeError, match="lamb"):
        built(**BATCH, lamb=0.3)
    strong = RealignedModel(tiny("llama", 1), tiny("llama", 2), aligned_beta=0.1)
    with torch.no_grad():
        assert torch.equal(strong(**BATCH, beta=0.2).logits, strong(**BATCH, lam=0.5).logits)
    with pytest.raises(ValueError, match="must be a positive finite number, got -1"):
        RealignedModel(tiny("llama", 1), tiny("llama", 2), aligned_beta=-1.0)
    with pytest.raises(ValueError, match="lam must be numbers, got '0.5'"):
        built(**BATCH, lam="0.5")


def test_an_adapter_s_base_of_another_name_only_causes_a_warning(reference, tmp_path):
    elsewhere = save(tiny("llama", 1), tmp_path / "moved")
    adapter, merged = adapter_on(elsewhere, tmp_path / "adapter")
    with pytest.warns(UserWarning, match=f"was trained on {elsewhere}, and is put on {reference}"):
        model = RealignedModel.from_pretrained(reference, adapter)
    assert decodes_as(model, [tiny("llama", 1), merged], 0.4, [[0.4]] * 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        RealignedModel.from_pretrained(elsewhere, adapter)


@pytest.mark.parametrize("missing", ["reference", "aligned", "second"])
def test_a_path_that_does_not_exist_is_refused(reference, aligned, tmp_path, missing):
    nowhere = str(tmp_path / "nowhere")
    arguments = dict(
        reference=(nowhere, aligned),
        aligned=(reference, nowhere),
        second=(reference, [aligned, nowhere]),
    )
    with pytest.raises(FileNotFoundError, match=f"{nowhere}: no such folder"):
        RealignedModel.from_pretrained(*arguments[missing])


@pytest.mark.parametrize("which", ["reference", "aligned"])
def test_pickled_weights_of_a_model_are_refused(reference, aligned, tmp_path, which):
    folder = tmp_path / which
    (folder / "model.safetensors").unlink()
    torch.save(tiny("llama", 1).state_dict(), folder / "pytorch_model.bin")
    # transformers alone would read them
    assert tf.AutoModelForCausalLM.from_pretrained(folder) is not None
    with pytest.raises(ValueError, match=f"{folder} has no safetensors weights"):
        RealignedModel.from_pretrained(reference, aligned)


def test_pickled_weights_of_an_adapter_are_refused(reference, tmp_path):
    adapter, _ = adapter_on(reference, tmp_path / "adapter")
    weights = PeftModel.from_pretrained(tiny("llama", 1), adapter).state_dict()
    lora = {name: tensor for name, tensor in weights.items() if "lora_" in name}
    pickled = {name.replace(".default", ""): tensor for name, tensor in lora.items()}
    torch.save(pickled, tmp_path / "adapter" / "adapter_model.bin")
    (tmp_path / "adapter" / "adapter_model.safetensors").unlink()
    PeftModel.from_pretrained(tiny("llama", 1), adapter)  # PEFT alone would read them
    with pytest.raises(ValueError, match=f"{adapter} has no adapter_model.safetensors"):
        RealignedModel.from_pretrained(reference, adapter)


@pytest.mark.parametrize("which", ["reference", "aligned"])
def test_a_model_without_a_tokenizer_is_refused(reference, aligned, tmp_path, which):
    for file in (tmp_path / which).glob("tokenizer*"):
        file.unlink()
    with pytest.raises(ValueError, match=f"{tmp_path / which} has no tokenizer to compare"):
        RealignedModel.from_pretrained(reference, aligned)


def test_remote_code_is_refused(reference, aligned):
    with pytest.raises(ValueError, match="trust_remote_code is not supported"):
        RealignedModel.from_pretrained(reference, aligned, trust_remote_code=True)
    RealignedModel.from_pretrained(reference, aligned, trust_remote_code=False)


def test_adapters_that_do_not_exist_or_are_not_named_are_refused():
    config = LoraConfig(target_modules="all-linear")
    model = get_peft_model(tiny("llama", 1), config, adapter_name="kind")
    model.add_adapter("brief", LoraConfig(target_modules="all-linear"))
    with pytest.raises(ValueError, match=r"no adapter \['terse'\]: it has \['kind', 'brief'\]"):
        RealignedModel(None, model, adapters=["kind", "terse"])
    with pytest.raises(ValueError, match=r"several adapters \['kind', 'brief'\]: name those"):
        RealignedModel(None, model)
    with pytest.raises(ValueError, match="adapters= is for one PEFT model"):
        RealignedModel(tiny("llama", 1), tiny("llama", 2), adapters=["kind"])


def test_a_model_without_an_aligned_model_is_refused():
    with pytest.raises(ValueError, match="only when aligned is a PEFT model"):
        RealignedModel(None, tiny("llama", 2))
    for nothing in ([], {}):
        with pytest.raises(ValueError, match="at least one aligned model"):
            RealignedModel(tiny("llama", 1), nothing)


@pytest.mark.parametrize("nothing", [[], {}])
def test_loading_no_aligned_model_is_refused(reference, nothing):
    with pytest.raises(ValueError, match="at least one aligned model"):
        RealignedModel.from_pretrained(reference, nothing)


def test_saving_the_realigned_model_is_refused(built, tmp_path):
    with pytest.raises(NotImplementedError, match="by themselves"):
        built.save_pretrained(tmp_path / "saved")
    assert not (tmp_path / "saved").exists()


# --- Models that load ---


@pytest.mark.parametrize("architecture", ["llama", "t5", "bart"])
def test_a_pair_of_folders_loads(tmp_path, architecture):
    whole = tiny(architecture, 1), tiny(architecture, 2)
    paths = [save(model, tmp_path / str(i)) for i, model in enumerate(whole)]
    model = RealignedModel.from_pretrained(*paths, aligned_beta=0.1)
    assert decodes_as(model, whole, [-0.5, 0.4, 3.0], [[-0.5], [0.4], [3.0]])
    by_beta = model.generate(**BATCH, beta=0.05, **GREEDY)
    assert torch.equal(by_beta, model.generate(**BATCH, lam=2.0, **GREEDY))


@pytest.mark.parametrize("architecture", ["llama", "t5"])
@pytest.mark.parametrize("merge", [False, True])
def test_an_adapter_and_a_whole_model_load_from_a_list(tmp_path, architecture, merge):
    reference, aligned = (save(tiny(architecture, i), tmp_path / str(i)) for i in (1, 2))
    adapter, merged = adapter_on(reference, tmp_path / "adapter", task_type=TASK[architecture])
    model = RealignedModel.from_pretrained(reference, [adapter, aligned], merge_adapter=merge)
    assert model.names == ["0", "1"]
    whole = [tiny(architecture, 1), merged, tiny(architecture, 2)]
    assert decodes_as(model, whole, [0.7, -0.4], [[0.7, -0.4]] * 3)


@pytest.mark.parametrize("architecture", TASK)
@pytest.mark.parametrize("merge", [False, True])
def test_two_adapters_load_from_a_mapping(tmp_path, architecture, merge):
    reference = save(tiny(architecture, 1), tmp_path / "reference")
    kind, first = adapter_on(reference, tmp_path / "a", seed=3, task_type=TASK[architecture])
    brief, second = adapter_on(reference, tmp_path / "b", seed=4, task_type=TASK[architecture], r=3)
    model = RealignedModel.from_pretrained(
        reference, {"kind": kind, "brief": brief}, merge_adapter=merge, lam={"brief": 1}
    )
    whole = [tiny(architecture, 1), first, second]
    assert decodes_as(model, whole, {"brief": -0.4, "kind": 0.7}, [[0.7, -0.4]] * 3)
    # without lam= the model uses the lam that it was loaded with
    assert decodes_as(model, whole, None, [[0.0, 1.0]] * 3)
    bases = sum(p.numel() for p in model.parameters()) / tiny(architecture, 1).num_parameters()
    assert (2.99 < bases < 3.01) if merge else (1 < bases < 2)
    assert isinstance(model.aligned, PeftModel) != merge


def test_dtype_reaches_every_part(reference, aligned):
    model = RealignedModel.from_pretrained(reference, [aligned, aligned], dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert not model.training


def test_the_generation_settings_are_those_of_the_aligned_model(reference, tmp_path):
    aligned = tiny("llama", 2)
    aligned.generation_config.max_new_tokens = 3
    model = RealignedModel.from_pretrained(reference, save(aligned, tmp_path / "aligned"))
    assert model.generate(**BATCH, min_new_tokens=3, do_sample=False).shape == (3, 8)
