"""A pretrained model is loaded as it is, and its tokenizer reads prompts as the model expects."""

import json

import gguf
import numpy as np
import pytest
import torch
from tokenizers.processors import TemplateProcessing
from transformers import AutoModelForCausalLM, AutoTokenizer

from dera import chat
from tests.pretrained import chat_model, chat_tokenizer, save_chat_model
from training import reference
from training.reference import PretrainedError, PretrainedSettings


def settings(**changes):
    section = {
        "pretrained": {"path": "model"},
        "chat": True,
        "max_positions": 64,
        "max_new_tokens": 8,
    }
    return PretrainedSettings(**(section | changes))


def write_gguf(path, model, tokenizer):
    """Write a Llama and its tokenizer as a GGUF file in float32, as llama.cpp defines the format.

    That format turns the rows of queries and keys about: of each head, the two halves of rotary
    positions take turns.
    """
    config = model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_vocab_size(config.vocab_size)

    # The tokenizer: its tokens in order, and its merges.
    data = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    tokens = sorted(data["vocab"], key=data["vocab"].get)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token.startswith("<|") else 1 for token in tokens])
    writer.add_token_merges([" ".join(merge) for merge in data["merges"]])
    writer.add_bos_token_id(config.bos_token_id)
    writer.add_eos_token_id(config.eos_token_id)
    writer.add_chat_template(tokenizer.chat_template)

    # The weights.
    names = {
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
    }
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    state = model.state_dict()
    writer.add_tensor("token_embd.weight", state["model.embed_tokens.weight"].numpy())
    writer.add_tensor("output_norm.weight", state["model.norm.weight"].numpy())
    for layer in range(config.num_hidden_layers):
        for ours, theirs in names.items():
            weight = state[f"model.layers.{layer}.{ours}.weight"].numpy()
            if theirs in heads:
                rows, columns = weight.shape
                halves = weight.reshape(heads[theirs], 2, rows // heads[theirs] // 2, columns)
                weight = np.ascontiguousarray(halves.swapaxes(1, 2).reshape(rows, columns))
            writer.add_tensor(f"blk.{layer}.{theirs}.weight", weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_a_gguf_file_gives_the_model_that_was_written_and_can_be_saved(tmp_path):
    tokenizer = chat_tokenizer()
    model = chat_model(tokenizer).eval()
    write_gguf(tmp_path / "tiny.gguf", model, tokenizer)

    loaded, read = reference.load_pretrained(tmp_path / "tiny.gguf")
    loaded.save_pretrained(tmp_path / "saved")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "saved", use_safetensors=True).eval()
    text = "To make a cake, be kind."
    ids = tokenizer(text, return_tensors="pt").input_ids
    assert read(text, add_special_tokens=False).input_ids == ids[0].tolist()
    with torch.no_grad():
        torch.testing.assert_close(again(ids).logits, model(ids).logits, atol=1e-5, rtol=1e-5)


def test_a_folder_gives_the_model_that_was_saved(tmp_path):
    folder = save_chat_model(tmp_path / "model")
    loaded, _ = reference.load_pretrained(folder)
    saved = AutoModelForCausalLM.from_pretrained(folder).state_dict()
    assert all(torch.equal(value, saved[name]) for name, value in loaded.state_dict().items())


def test_weights_that_are_pickled_are_refused(tmp_path):
    folder = save_chat_model(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(PretrainedError, match="no \\*.safetensors"):
        reference.load_pretrained(folder)


@pytest.mark.parametrize("content", [b"", b"GGUF", b"GGUF\x03\x00\x00\x00" + b"\xff" * 64])
def test_a_gguf_file_that_cannot_be_read_is_named(tmp_path, content):
    path = tmp_path / "broken.gguf"
    path.write_bytes(content)
    with pytest.raises(PretrainedError, match="broken.gguf"):
        reference.load_pretrained(path)


def test_another_kind_of_file_is_refused(tmp_path):
    path = tmp_path / "model.bin"
    path.write_bytes(b"")
    with pytest.raises(PretrainedError, match="neither a folder nor a file that ends in .gguf"):
        reference.load_pretrained(path)


def beginning_with_bos(tokenizer):
    """Let a tokenizer put the token that begins a text before every text, as Llama's does."""
    bos = (tokenizer.bos_token, tokenizer.bos_token_id)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{bos[0]} $A", special_tokens=[bos]
    )
    assert tokenizer("a").input_ids[0] == bos[1]
    return tokenizer


@pytest.mark.parametrize("uses_chat", [True, False])
@pytest.mark.parametrize("adds_bos", [True, False])
def test_a_prepared_tokenizer_puts_around_a_prompt_what_belongs_there(
    tmp_path, uses_chat, adds_bos
):
    tokenizer = chat_tokenizer()
    model = chat_model(tokenizer)
    begins, ends = tokenizer.bos_token_id, tokenizer.eos_token_id
    bare = tokenizer("Be kind.").input_ids
    if adds_bos:
        tokenizer = beginning_with_bos(tokenizer)
    reference.prepare_tokenizer(tokenizer, model, uses_chat)

    # It is saved and loaded as the study does it.
    tokenizer.save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path, padding_side="left")
    ids = chat.for_prompts(tokenizer)(["Be kind."]).input_ids[0]
    assert tokenizer("Be kind.").input_ids == bare  # a completion is read as it stands
    assert tokenizer(chat.rendered(tokenizer, ["Be kind."])[0]).input_ids == ids
    if uses_chat:
        assert ids.count(ends) == 2  # of the system turn and of the user's
        assert tokenizer.decode(ids).endswith("Be kind.<|end|>\n<|start|>assistant\n")
    else:
        assert ids == ([begins, *bare] if adds_bos else bare)


def test_a_chat_needs_a_template(tmp_path):
    tokenizer = chat_tokenizer()
    tokenizer.chat_template = None
    with pytest.raises(PretrainedError, match="has no chat template"):
        reference.prepare_tokenizer(tokenizer, chat_model(tokenizer), chat=True)


def test_a_template_of_the_config_takes_the_place_of_the_models_own():
    tokenizer = chat_tokenizer()
    template = "{% for message in messages %}[{{ message['content'] }}]{% endfor %}"
    reference.prepare_tokenizer(tokenizer, chat_model(tokenizer), True, template)
    assert chat.rendered(tokenizer, ["Be kind."]) == ["[Be kind.]"]


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{% for message in messages %}", "cannot render"),
        ("{{ raise_exception('no') }}", "cannot render"),
        ("{{ messages[0]['text'] }}", "loses what the user wrote"),
        ("Answer: ", "loses what the user wrote"),
    ],
)
def test_a_template_that_cannot_be_used_is_refused(template, message):
    tokenizer = chat_tokenizer()
    with pytest.raises(PretrainedError, match=message):
        reference.prepare_tokenizer(tokenizer, chat_model(tokenizer), True, template)


def test_tokenizer_and_model_must_end_a_text_alike():
    tokenizer = chat_tokenizer()
    model = chat_model(tokenizer)
    model.generation_config.eos_token_id = 0
    with pytest.raises(PretrainedError, match="ends a text with token 2.* with \\[0\\]"):
        reference.prepare_tokenizer(tokenizer, model, chat=True)


def test_a_model_of_fewer_positions_is_refused():
    tokenizer = chat_tokenizer()
    model = chat_model(tokenizer)
    reference.check_positions(model, settings(max_positions=256))
    with pytest.raises(PretrainedError, match="max_positions = 257.* only 256"):
        reference.check_positions(model, settings(max_positions=257))


def test_the_longest_prompt_must_fit():
    reference.check_lengths([[1] * 56], settings())
    with pytest.raises(ValueError, match="must be at least 65"):
        reference.check_lengths([[1], [1] * 57], settings())
