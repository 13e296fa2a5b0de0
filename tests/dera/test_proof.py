"""A pair proves itself when it is made, and what does not hold is refused with a remedy that works.

The truth is PEFT's own model or the oracle's, read without a cache and without padding.
"""

import copy
import functools

import peft
import pytest
import torch
import transformers as tf
from peft import LoraConfig, PeftModel, get_peft_model

from dera import RealignedModel
from dera.model import loading
from dera.model.cache import RealignedCache
from dera.model.proof import kinds
from tests.dera.architectures import CONFIGS, EOS, VOCABULARY, tiny, tiny_adapter
from tests.dera.oracle import greedy, part_logits
from tests.dera.tokenizers import word_tokenizer

LAYERS = ["q_proj", "v_proj", "down_proj"]
TEXT = [3, 4, 5, 6, 7]


def lora(**changes):
    settings = dict(task_type="CAUSAL_LM", r=4, target_modules=LAYERS)
    return LoraConfig(**(settings | changes))


def kind(name, **settings):
    """The configuration of one of PEFT's kinds of adapters."""
    config = peft.PEFT_TYPE_TO_CONFIG_MAPPING[peft.PeftType(name)]
    return config(task_type="CAUSAL_LM", **settings)


def adapted(base, config, seed=3):
    """A PEFT model whose adapter was moved away from where it began."""
    model = get_peft_model(base, copy.deepcopy(config)).eval()
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.2 * torch.randn_like(parameter)
    return model


def save(model, folder):
    """Save a model with the tokenizer beside it; return the folder as text."""
    model.save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return save(tiny("llama", 1), tmp_path_factory.mktemp("saved") / "reference")


def load(path):
    return tf.AutoModelForCausalLM.from_pretrained(path).eval()


def off_by(model, reference, aligned, lam=0.5):
    """How far the mixture's probabilities are from those of a reference and an aligned model."""
    parts = [part_logits(part, TEXT)[-1] for part in (reference, aligned)]
    size = min(len(part) for part in parts)
    truth = ((1 - lam) * parts[0][:size] + lam * parts[1][:size]).softmax(-1)
    with torch.no_grad():
        got = model(torch.tensor([TEXT]), lam=lam).logits[0, -1].double().softmax(-1)
    return (got - truth).abs().max().item()


# --- Adapters that rewrite the base ---

REWRITING = {
    "pissa": lora(init_lora_weights="pissa"),
    "olora": lora(init_lora_weights="olora"),
    "replicated layers": lora(layer_replication=[(0, 2), (1, 2)]),
}


@pytest.mark.parametrize("name", REWRITING)
def test_an_adapter_that_rewrites_its_base_is_refused_and_can_be_merged(reference, tmp_path, name):
    trained = adapted(load(reference), REWRITING[name])
    trained.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=f"{tmp_path} is LORA .*not the reference.*merge_adapter"):
        RealignedModel.from_pretrained(reference, tmp_path)
    merged = RealignedModel.from_pretrained(reference, tmp_path, merge_adapter=True)
    for lam in (0, 0.5, 2):
        assert off_by(merged, load(reference), trained, lam) < 1e-4


@pytest.mark.parametrize("name", REWRITING)
def test_a_peft_model_that_rewrote_its_base_needs_the_reference_beside_it(reference, name):
    model = adapted(load(reference), REWRITING[name])
    with pytest.raises(
        ValueError, match="'default' is LORA .*RealignedModel.reference, peft_model"
    ):
        RealignedModel(None, model)
    pair = RealignedModel(load(reference), model)
    assert off_by(pair, load(reference), model) < 1e-4


def test_biases_trained_in_the_base_are_refused_in_memory():
    config = LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=["c_attn"], bias="all")
    model = adapted(tiny("gpt2", 1), config)
    with pytest.raises(ValueError, match="bias='all', which trains biases of the base itself"):
        RealignedModel(None, model)
    pair = RealignedModel(tiny("gpt2", 1), model)
    assert off_by(pair, tiny("gpt2", 1), model) < 1e-4


@pytest.mark.parametrize("beginning", ["pissa_niter_2", "lora_ga", "corda"])
@pytest.mark.parametrize("merge", [False, True])
def test_an_adapter_whose_beginning_is_not_saved_is_refused(reference, tmp_path, beginning, merge):
    adapted(load(reference), lora()).save_pretrained(tmp_path)
    config = peft.PeftConfig.from_pretrained(tmp_path)
    config.init_lora_weights = beginning
    config.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=f"begun with {beginning}.*cannot begin again"):
        RealignedModel.from_pretrained(reference, tmp_path, merge_adapter=merge)


def test_such_an_adapter_saved_as_plain_lora_is_taken(reference, tmp_path):
    model = get_peft_model(load(reference), lora(init_lora_weights="pissa_niter_2")).eval()
    model.peft_config["default"].init_lora_weights = True
    model.save_pretrained(tmp_path / "begun")
    model.peft_config["default"].init_lora_weights = "pissa_niter_2"
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.2 * torch.randn_like(parameter)
    model.save_pretrained(
        tmp_path / "plain", path_initial_model_for_weight_conversion=str(tmp_path / "begun")
    )
    pair = RealignedModel.from_pretrained(reference, tmp_path / "plain")
    assert off_by(pair, load(reference), model) < 1e-4


def test_a_changed_base_is_found_by_reading_it(reference, tmp_path, monkeypatch):
    """A kind of adapter that nobody has thought of is found out too, and the layer is named."""
    adapted(load(reference), REWRITING["pissa"]).save_pretrained(tmp_path)
    monkeypatch.setattr(loading, "check_kind_on_disk", lambda *_, **__: None)
    with pytest.raises(ValueError, match=r"has changed it .*model.layers.0.*q_proj.weight"):
        RealignedModel.from_pretrained(reference, tmp_path)
    RealignedModel.from_pretrained(reference, tmp_path, check=False)


# --- Adapters that a cached step does not see ---

PROMPTS = {
    "PREFIX_TUNING": dict(num_virtual_tokens=3),
    "PROMPT_TUNING": dict(num_virtual_tokens=3),
    "P_TUNING": dict(num_virtual_tokens=3, encoder_hidden_size=8),
    "MULTITASK_PROMPT_TUNING": dict(num_virtual_tokens=3, num_tasks=1, num_ranks=1),
}


@pytest.mark.parametrize("name", PROMPTS)
def test_virtual_tokens_are_refused(reference, tmp_path, name):
    model = adapted(load(reference), kind(name, **PROMPTS[name]))
    with pytest.raises(ValueError, match=f"'default' is {name}, which .* PEFT's own generate"):
        RealignedModel(None, model)
    with pytest.raises(ValueError, match=f"'aligned' is {name}|'default' is {name}"):
        RealignedModel(load(reference), model)
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=f"{tmp_path} is {name}, which .* PEFT's own generate"):
        RealignedModel.from_pretrained(reference, tmp_path)


def test_prefix_tuning_decodes_without_a_cache_as_its_refusal_says(reference):
    model = adapted(load(reference), kind("PREFIX_TUNING", num_virtual_tokens=3))
    pair = RealignedModel(load(reference), model, check=False)
    ids = torch.tensor([TEXT])
    arguments = dict(attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=6)
    got = pair.generate(ids, lam=0.5, use_cache=False, **arguments)[0, len(TEXT) :].tolist()
    assert got == greedy([load(reference), model], [0.5], TEXT, 6, EOS)


def test_an_activated_lora_is_refused(reference):
    model = adapted(load(reference), lora(alora_invocation_tokens=[5, 6]))
    with pytest.raises(ValueError, match="an activated LoRA"):
        RealignedModel(None, model)


def test_what_a_cached_step_does_not_see_is_found_by_reading(reference, monkeypatch):
    """Lily mixes the tokens of a row, so a step of one token is another thing than a row."""
    model = adapted(load(reference), kind("LILY", target_modules=LAYERS))
    with pytest.raises(ValueError, match="a cached step differs.*'default' .LILY"):
        RealignedModel(None, model)
    # Without a cache it decodes as the refusal says.
    pair = RealignedModel(None, model, check=False)
    ids = torch.tensor([TEXT])
    arguments = dict(attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=4)
    got = pair.generate(ids, lam=0.5, use_cache=False, **arguments)[0, len(TEXT) :].tolist()
    assert got == greedy([load(reference), model], [0.5], TEXT, 4, EOS)
    monkeypatch.setattr(kinds, "_check_needs_no_more", lambda *_: None)
    model = adapted(load(reference), kind("PREFIX_TUNING", num_virtual_tokens=3))
    with pytest.raises(ValueError, match="a cached step differs.*'default' .PREFIX_TUNING"):
        RealignedModel(None, model)


TAKEN = {
    "plain": lora(),
    "dora": lora(use_dora=True),
    "eva": lora(init_lora_weights="eva"),
    "orthogonal": lora(init_lora_weights="orthogonal"),
    "tokens": lora(trainable_token_indices=[5, 6]),
    "head trained whole": lora(modules_to_save=["lm_head"]),
    "ia3": kind("IA3", target_modules=LAYERS, feedforward_modules=["down_proj"]),
    "oft": kind("OFT", target_modules=LAYERS, oft_block_size=4),
    "loha": kind("LOHA", target_modules=LAYERS),
    "norms": kind("LN_TUNING", target_modules=["input_layernorm"]),
}


@pytest.mark.parametrize("name", TAKEN)
@pytest.mark.parametrize("merge", [False, True])
def test_other_kinds_prove_themselves(reference, tmp_path, name, merge):
    model = adapted(load(reference), TAKEN[name])
    model.save_pretrained(tmp_path)
    pair = RealignedModel.from_pretrained(reference, tmp_path, merge_adapter=merge)
    assert off_by(pair, load(reference), model) < 1e-4


# --- Merged adapters, and resized bases ---


@pytest.mark.parametrize("modules", [["q_proj", "lm_head"], ["embed_tokens", "q_proj"]])
def test_an_adapter_on_one_of_two_tied_layers_merges_into_that_one(tmp_path, modules):
    base = save(tiny("llama", 1, tie_word_embeddings=True), tmp_path / "tied")
    model = adapted(load(base), lora(target_modules=modules))
    model.save_pretrained(tmp_path / "adapter")
    for merge in (False, True):
        pair = RealignedModel.from_pretrained(base, tmp_path / "adapter", merge_adapter=merge)
        assert off_by(pair, load(base), model) < 1e-4


def test_a_merge_that_is_not_its_adapter_is_refused(reference, tmp_path, monkeypatch):
    model = adapted(load(reference), lora())
    model.save_pretrained(tmp_path)
    monkeypatch.setattr(PeftModel, "merge_and_unload", lambda self: self.unload(), raising=False)
    with pytest.raises(
        ValueError, match=f"{tmp_path} .LORA. is not what it was after it is merged"
    ):
        RealignedModel.from_pretrained(reference, tmp_path, merge_adapter=True)
    pair = RealignedModel(load(reference), PeftModel.from_pretrained(load(reference), tmp_path))
    assert off_by(pair, load(reference), model) < 1e-4


def test_an_adapter_that_cannot_be_merged_is_refused_by_kind(reference, tmp_path):
    model = adapted(load(reference), kind("ADAPTION_PROMPT", adapter_len=2, adapter_layers=1))
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="ADAPTION_PROMPT. cannot be merged"):
        RealignedModel.from_pretrained(reference, tmp_path, merge_adapter=True)
    pair = RealignedModel(load(reference), PeftModel.from_pretrained(load(reference), tmp_path))
    assert off_by(pair, load(reference), model) < 1e-4


def test_an_adapter_of_a_resized_base_is_sent_to_a_resized_reference(reference, tmp_path):
    base = load(reference)
    base.resize_token_embeddings(VOCABULARY + 2)
    model = adapted(base, lora())
    model.save_pretrained(tmp_path / "adapter")
    for merge in (False, True):
        with pytest.raises(ValueError, match="trained on a base with 15 tokens.*has 13: resize"):
            RealignedModel.from_pretrained(reference, tmp_path / "adapter", merge_adapter=merge)
    resized = load(reference)
    resized.resize_token_embeddings(VOCABULARY + 2)
    path = save(resized, tmp_path / "resized")
    pair = RealignedModel.from_pretrained(path, tmp_path / "adapter", merge_adapter=True)
    assert off_by(pair, load(path), model) < 1e-4


# --- Parts that share modules ---


def test_two_peft_models_on_one_base_object_are_refused():
    base = tiny("llama", 1)
    first = get_peft_model(base, lora(), adapter_name="sft")
    second = get_peft_model(base, lora(), adapter_name="dpo")
    with pytest.raises(ValueError, match="'reference' and 'aligned' share one model"):
        RealignedModel(first, second)
    with pytest.raises(ValueError, match="'x' and 'y' share one model"):
        RealignedModel(tiny("llama", 2), {"x": first, "y": second})


def test_one_model_given_twice_is_refused():
    model = tiny("llama", 1)
    with pytest.raises(ValueError, match="'reference' and 'aligned' share one model"):
        RealignedModel(model, model)


def test_models_that_share_a_block_are_refused():
    first, second = tiny("llama", 1), tiny("llama", 2)
    second.model.layers[1] = first.model.layers[1]
    with pytest.raises(ValueError, match="share their module 'model.layers.1.self_attn.q_proj'"):
        RealignedModel(first, second)
    RealignedModel(first, copy.deepcopy(second))


def test_a_base_that_peft_was_given_is_no_reference():
    """The adapter is in it, and on."""
    base = tiny("llama", 1)
    merged = copy.deepcopy(adapted(base, lora())).merge_and_unload()
    with pytest.raises(ValueError, match="PEFT has put adapters into the reference.*load it once"):
        RealignedModel(base, merged)
    assert off_by(RealignedModel(tiny("llama", 1), merged), tiny("llama", 1), merged) < 1e-4


def test_adapters_of_one_peft_model_share_their_base():
    model = adapted(tiny("llama", 1), lora())
    model.add_adapter("other", lora())
    RealignedModel(None, model, adapters=["default", "other"])


# --- Tokens that the mixture cannot say ---


def ends_with(token, reference):
    """A model with two tokens more than the reference, which ends its texts with one of them."""
    model = copy.deepcopy(reference)
    model.resize_token_embeddings(VOCABULARY + 2)
    model.generation_config.eos_token_id = token
    with torch.no_grad():
        model.lm_head.weight[VOCABULARY + 1] = 3 * model.lm_head.weight[5]
    return model


@pytest.mark.parametrize("token", [VOCABULARY + 1, [EOS, VOCABULARY + 1]])
def test_an_end_token_that_the_mixture_cannot_say_is_refused(token):
    reference = tiny("llama", 1)
    aligned = ends_with(token, reference)
    with pytest.raises(ValueError, match=r"names 14 as an end token, but \['reference'\] have no"):
        RealignedModel(reference, aligned)
    # Both remedies work, and with the first the mixture ends its texts.
    reference.resize_token_embeddings(VOCABULARY + 2)
    pair = RealignedModel(reference, aligned)
    ids = torch.tensor([TEXT] * 200)
    torch.manual_seed(0)
    texts = pair.generate(ids, attention_mask=torch.ones_like(ids), lam=1.0, max_new_tokens=20)
    assert (texts == VOCABULARY + 1).any()
    aligned.generation_config.eos_token_id = EOS
    RealignedModel(tiny("llama", 1), aligned)


def test_an_end_token_of_the_tokenizer_without_a_row_is_refused():
    tokenizer = word_tokenizer()
    tokenizer.add_special_tokens({"eos_token": "<end>"})
    with (
        pytest.warns(UserWarning, match="no row"),
        pytest.raises(ValueError, match="the tokenizer names 13"),
    ):
        RealignedModel(tiny("llama", 1), tiny("llama", 2), tokenizer=tokenizer)


def test_rows_that_a_model_uses_are_warned_of_and_padding_is_not(recwarn):
    reference = tiny("llama", 1)
    aligned = ends_with(EOS, reference)
    with pytest.warns(UserWarning, match="'aligned' gives up to .*resize_token_embeddings.15"):
        RealignedModel(reference, aligned)
    with torch.no_grad():
        padding = aligned.lm_head.weight[VOCABULARY:]
        padding.zero_()
    reference.resize_token_embeddings(VOCABULARY + 2)
    recwarn.clear()
    RealignedModel(reference, aligned)
    assert not [warning for warning in recwarn if "gives up to" in str(warning.message)]


# --- Readings ---


@pytest.mark.parametrize("architecture", [name for name in CONFIGS if name != "recurrent_gemma"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_pairs_of_whole_models_prove_themselves(architecture, dtype):
    RealignedModel(tiny(architecture, 1).to(dtype), tiny(architecture, 2).to(dtype))


@pytest.mark.parametrize("architecture", ["llama", "t5"])
def test_rows_that_are_not_selected_are_found(architecture, monkeypatch):
    monkeypatch.setattr(RealignedCache, "batch_select_indices", lambda self, indices: None)
    models = tiny(architecture, 1), tiny(architecture, 2)
    with pytest.raises(ValueError, match="a row that was selected from a batch differs"):
        RealignedModel(*models)
    RealignedModel(*models, check=False)


def test_padding_that_is_read_is_found():
    reference, aligned = tiny("llama", 1), tiny("llama", 2)
    forward = aligned.forward

    @functools.wraps(forward)
    def without_mask(input_ids=None, attention_mask=None, position_ids=None, **kwargs):
        return forward(input_ids=input_ids, position_ids=position_ids, **kwargs)

    aligned.forward = without_mask
    with pytest.raises(ValueError, match="padding on its left differs.*'aligned'"):
        RealignedModel(reference, aligned)
    pair = RealignedModel(reference, aligned, check=False)
    assert off_by(pair, tiny("llama", 1), tiny("llama", 2)) < 1e-4


def test_a_cache_that_is_forgotten_is_found():
    reference, aligned = tiny("llama", 1), tiny("llama", 2)
    forward = aligned.forward

    @functools.wraps(forward)
    def without_cache(input_ids=None, past_key_values=None, **kwargs):
        return forward(input_ids)

    aligned.forward = without_cache
    with pytest.raises(ValueError, match="a cached step differs.*'aligned'"):
        RealignedModel(reference, aligned)


# --- What the proof costs, and what it leaves alone ---


@pytest.mark.parametrize("kind_of_pair", ["two models", "adapter"])
def test_the_proof_reads_a_handful_of_times(kind_of_pair):
    base = tiny("llama", 1)
    pair = (None, tiny_adapter(base, 2)) if kind_of_pair == "adapter" else (base, tiny("llama", 2))
    calls = []
    base.register_forward_hook(lambda *_: calls.append(1))
    RealignedModel(*pair, check=False)
    assert not calls
    RealignedModel(*pair)
    assert len(calls) <= 8


def test_the_caller_s_models_are_left_as_they_were():
    model = adapted(tiny("llama", 1), lora(lora_dropout=0.5))
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    gradients = {name: value.requires_grad for name, value in model.named_parameters()}
    torch.manual_seed(0)
    state = torch.get_rng_state()
    RealignedModel(None, model)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())
    assert gradients == {name: value.requires_grad for name, value in model.named_parameters()}


def test_an_adapter_that_is_trained_after_the_pair_is_made_has_its_one_pass_tried_again():
    model = get_peft_model(tiny("llama", 1), lora()).eval()
    pair = RealignedModel(None, model)
    assert "_trial" not in vars(pair.one_pass)
    torch.manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter += 0.3 * torch.randn_like(parameter)
    assert off_by(pair, tiny("llama", 1), model) < 1e-4


def test_offloaded_models_are_taken_without_reading_them():
    with torch.device("meta"):
        reference, aligned = (tf.AutoModelForCausalLM.from_config(CONFIGS["llama"]()) for _ in "ab")
    with pytest.warns(UserWarning, match="not proved by reading tokens, because weights of Llama"):
        RealignedModel(reference, aligned)
