"""A base and its adapters in one pass give what PEFT gives with one adapter on at a time."""

import copy

import pytest
import torch
from peft import LoraConfig
from peft.tuners.lora.layer import LoraLayer
from torch.nn.functional import cross_entropy
from transformers import BloomConfig, BloomForCausalLM

from dera import RealignedModel
from dera.one_pass.conditions import can_run_in_one_pass
from dera.one_pass.layers import AdaptedLinear
from tests.dera.architectures import tiny, tiny_adapter
from tests.dera.oracle import Oracle
from tests.dera.test_generate import LAMS, PROMPTS, counted, padded

ARCHITECTURES = ["llama", "qwen", "gpt2", "gemma", "mistral"]


def targets(architecture):
    return (
        ["c_attn", "c_proj", "c_fc"]
        if architecture == "gpt2"
        else ["q_proj", "v_proj", "o_proj", "up_proj", "down_proj"]
    )


def adapted(architecture, upper=False, names=("first",), seed=1, **changes):
    """A PEFT model with adapters "default" and `names`, in both layers or in the upper layer."""
    layers = dict(layers_to_transform=[1]) if upper else {}
    options = dict(target_modules=targets(architecture), **layers, **changes)
    model = tiny_adapter(tiny(architecture, seed), 2, **options)
    for i, name in enumerate(names):
        torch.manual_seed(10 + i)
        model.add_adapter(name, LoraConfig(r=3 + i, lora_alpha=5, task_type="CAUSAL_LM", **options))
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            weight.data.normal_(std=0.3)
    return model.eval()


def switched(model, adapters, rows=PROMPTS):
    """PEFT's logits of the base and of each adapter, one prompt after another in float64.

    Each has shape (tokens, vocabulary).
    """
    model = copy.deepcopy(model).double()
    logits = []

    def read():
        return torch.cat([model(input_ids=torch.tensor([row])).logits[0] for row in rows])

    with torch.no_grad():
        with model.disable_adapter():
            logits.append(read())
        for adapter in adapters:
            model.set_adapter(adapter)
            logits.append(read())
    return logits


def agrees(ours, model, adapters=("default",)):
    """Check that the logits of all parts are PEFT's, within float32 rounding.

    The prompts have different lengths and are in one batch.
    """
    batch = padded(PROMPTS)
    with torch.no_grad():
        got = ours(**batch, lam=[[0.2] * len(adapters)] * 4, output_parts=True)
    aligned = [got.aligned_logits] if len(adapters) == 1 else got.aligned_logits
    real = batch["attention_mask"].bool()
    parts = [got.reference_logits, *aligned]
    for logits, expected in zip(parts, switched(model, adapters), strict=True):
        torch.testing.assert_close(logits[real].float(), expected.float(), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(got.reference_logits, aligned[0], atol=0.1)


@pytest.mark.parametrize("upper", [False, True], ids=["all layers", "upper layers"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_one_pass_gives_the_logits_of_every_part(architecture, upper):
    """The two adapters have different ranks."""
    model = adapted(architecture, upper)
    adapters = ["first", "default"]
    ours = RealignedModel(None, model, adapters=adapters)
    assert ours.one_pass.ready  # this runs the trial, which is not counted
    assert ours.one_pass.first_wide_layer == upper
    with counted(base=model.get_base_model()) as calls:
        ours(**padded(PROMPTS), lam=[0.2, 0.5])
    assert calls == {"base": 1}
    agrees(ours, model, adapters)


@pytest.mark.parametrize("upper", [False, True], ids=["all layers", "upper layers"])
@pytest.mark.parametrize(
    "mode", [{}, dict(num_beams=3), dict(num_beams=2, num_return_sequences=2)], ids=str
)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_generate_equals_two_models_without_a_cache(architecture, mode, upper):
    """Greedy decoding, and beams, whose cached rows are repeated and reordered.

    The oracle has a copy with the adapter merged.
    """
    model = adapted(architecture, upper, names=())
    both = [tiny(architecture, 1), copy.deepcopy(model).merge_and_unload()]
    arguments = dict(**padded(PROMPTS), **mode, do_sample=False, max_new_tokens=9)
    got = RealignedModel(None, model).generate(**arguments, lam=LAMS)
    expected = Oracle(both).generate(**arguments, lam=torch.tensor(LAMS)[:, None], use_cache=False)
    assert torch.equal(got, expected)


@pytest.mark.parametrize("upper", [False, True], ids=["all layers", "upper layers"])
def test_each_layer_runs_once_and_lower_layers_run_for_one_part(upper):
    """The rows that a linear layer of each block sees, for two adapters and three prompts."""
    model = adapted("llama", upper)
    ours = RealignedModel(None, model, adapters=["first", "default"])
    assert ours.one_pass.ready
    seen = {0: [], 1: []}
    for i, layer in enumerate(model.get_base_model().model.layers):
        layer.self_attn.k_proj.register_forward_hook(
            lambda module, inputs, output, i=i: seen[i].append(len(inputs[0]))
        )
    ours.generate(
        **padded(PROMPTS[:3]), lam=[0.2, 0.5], do_sample=False, max_new_tokens=4, eos_token_id=None
    )
    assert seen == {0: [3 if upper else 9] * 4, 1: [9] * 4}


def test_only_parts_with_a_share_have_rows_in_the_batch():
    model = adapted("llama")
    ours = RealignedModel(None, model, adapters=["first", "default"])
    rows = []
    assert ours.one_pass.ready
    model.get_base_model().lm_head.register_forward_hook(
        lambda module, inputs, output: rows.append(len(inputs[0]))
    )
    parts_with_share = {(0.5, 0.0): 2, (0.0, 0.0): 1, (0.0, 1.0): 1, (0.5, 0.5): 2, (0.5, 0.6): 3}
    for lam, parts in parts_with_share.items():
        rows.clear()
        ours.generate(
            **padded(PROMPTS[:2]),
            lam=list(lam),
            do_sample=False,
            max_new_tokens=3,
            eos_token_id=None,
        )
        assert rows == [2 * parts] * 3


def test_the_peft_model_is_left_as_it_was():
    model = adapted("llama")
    model.set_adapter("first")
    before = copy.deepcopy(model.state_dict())
    ours = RealignedModel(None, model, adapters=["default"])
    ours.generate(**padded(PROMPTS), lam=0.5, max_new_tokens=3)
    assert model.active_adapter == "first"
    assert list(model.state_dict()) == list(before)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in model.parameters())


def test_weights_that_change_or_move_are_seen():
    """After each change of the PEFT model one pass gives what PEFT gives.

    The adapter is trained on, scaled, converted, and merged into the base.
    """
    model = adapted("llama", names=())
    batch = padded(PROMPTS)
    ours = RealignedModel(None, model)
    agrees(ours, model)
    for name, weight in model.named_parameters():
        if "lora" in name:
            weight.data.add_(0.1)
    agrees(ours, model)
    for module in model.modules():
        if isinstance(module, LoraLayer):
            module.set_scale("default", 0.3)
    agrees(ours, model)
    model.double()
    agrees(ours, model)
    before = ours(**batch, lam=0.5).logits
    model.merge_adapter()
    torch.testing.assert_close(ours(**batch, lam=0.5).logits, before)


def test_a_cache_may_be_reset_and_used_again():
    ours = RealignedModel(None, adapted("llama", names=()))
    ids = torch.tensor([PROMPTS[0]])
    with torch.no_grad():
        first = ours(input_ids=ids, lam=0.5, use_cache=True)
        cache = first.past_key_values
        cache.reset()
        again = ours(input_ids=ids, lam=0.5, past_key_values=cache)
        assert torch.equal(first.logits, again.logits)
        step = ours(input_ids=torch.tensor([[5]]), lam=0.5, past_key_values=cache).logits
        whole = ours(input_ids=torch.tensor([[*PROMPTS[0], 5]]), lam=0.5).logits
        torch.testing.assert_close(step[0, -1], whole[0, -1])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_weights_and_autocast_give_the_float32_logits_within_rounding(dtype):
    """The weights are of half precision, or of float32 under autocast."""
    model = adapted("llama", names=())
    batch = padded(PROMPTS)
    real = batch["attention_mask"].bool()
    ours = RealignedModel(None, model)
    with torch.no_grad():
        exact = ours(**batch, lam=0.5).logits[real]
        with torch.autocast("cpu", dtype=dtype):
            cast = ours(**batch, lam=0.5).logits[real]
        halved = RealignedModel(None, copy.deepcopy(model).to(dtype))
        half = halved(**batch, lam=0.5).logits[real]
    tolerance = 30 * torch.finfo(dtype).eps * exact.abs().mean()
    for got in (cast, half):
        assert (got.float() - exact).abs().mean() < tolerance


def test_gradients_are_those_of_the_parts():
    model = adapted("llama", names=())
    batch = padded(PROMPTS)
    for name, weight in model.named_parameters():
        weight.requires_grad_("lora" in name)

    def gradients(logits):
        model.zero_grad()
        cross_entropy(logits.flatten(0, 1), batch["input_ids"].flatten()).backward()
        return {
            name: weight.grad.clone()
            for name, weight in model.named_parameters()
            if weight.grad is not None
        }

    ours = gradients(RealignedModel(None, model)(**batch, lam=0.5).logits)
    positions = (batch["attention_mask"].cumsum(-1) - 1).clamp(min=0)
    with model.disable_adapter():
        reference = model(**batch, position_ids=positions).logits
    expected = gradients(0.5 * reference + 0.5 * model(**batch, position_ids=positions).logits)
    assert len(expected) == 2 * 2 * len(targets("llama"))
    assert ours.keys() == expected.keys()
    assert all(torch.allclose(ours[name], expected[name], atol=1e-5) for name in expected)


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_few_rows_of_large_layers_are_multiplied_correctly(rows):
    """Two to four rows are multiplied the other way round; the layers are large enough for it."""
    size = dict(hidden_size=256, intermediate_size=512, head_dim=128, initializer_range=0.1)
    base = tiny("llama", 1, **size)
    model = tiny_adapter(base, 2, target_modules=["q_proj", "up_proj", "down_proj"])
    assert max(p.numel() for p in base.parameters()) >= 2**16
    both = [tiny("llama", 1, **size), copy.deepcopy(model).merge_and_unload()]
    arguments = dict(padded(PROMPTS[:rows]), do_sample=False, max_new_tokens=6)
    got = RealignedModel(None, model).generate(**arguments, lam=0.5)
    lam = torch.full((rows, 1), 0.5)
    assert torch.equal(got, Oracle(both).generate(**arguments, lam=lam, use_cache=False))


def with_a_forward_put_in(base):
    """A model into one of whose modules a caller has put a forward, as tools for offloading do."""
    base.model.norm.forward = base.model.norm.forward
    return base


UNSUPPORTED = {
    "dora": lambda: tiny_adapter(tiny("llama", 1), 2, use_dora=True),
    "bias": lambda: tiny_adapter(tiny("llama", 1), 2, lora_bias=True),
    "a layer trained whole": lambda: tiny_adapter(tiny("llama", 1), 2, modules_to_save=["lm_head"]),
    "embeddings": lambda: tiny_adapter(
        tiny("llama", 1), 2, target_modules=["embed_tokens", "q_proj"]
    ),
    "a forward of the caller's": lambda: tiny_adapter(with_a_forward_put_in(tiny("llama", 1)), 2),
}


@pytest.mark.parametrize("kind", UNSUPPORTED)
def test_unsupported_adapters_run_part_by_part(kind):
    model = UNSUPPORTED[kind]()
    ours = RealignedModel(None, model)
    assert not can_run_in_one_pass(ours.parts)
    agrees(ours, model)


def test_all_blocks_run_for_all_parts_where_rows_cannot_be_told():
    """Bloom hands its blocks biases of rows times heads, which cannot be told from rows."""
    torch.manual_seed(1)
    config = BloomConfig(vocab_size=13, hidden_size=16, n_layer=2, n_head=2, initializer_range=0.6)
    base = BloomForCausalLM(config).eval()
    modules = ["query_key_value", "dense_h_to_4h"]
    model = tiny_adapter(base, 2, target_modules=modules, layers_to_transform=[1])
    ours = RealignedModel(None, model, check=False)  # which leaves the trial to the first call
    assert ours.one_pass.first_wide_layer == 1
    agrees(ours, model)
    assert ours.one_pass.ready
    assert ours.one_pass.first_wide_layer == 0


@pytest.mark.parametrize("fault", ["wrong rows", "an error"])
def test_one_pass_is_not_used_where_its_trial_fails(fault, monkeypatch):
    def select_wrong_rows(layer, indices):
        layer.present = [
            (len(indices) - 1 - place, layer.adapters[part])
            for place, part in enumerate(indices)
            if part in layer.adapters
        ]
        if fault == "an error":
            raise RuntimeError("shapes")

    monkeypatch.setattr(AdaptedLinear, "select_parts", select_wrong_rows)
    model = adapted("llama", names=())
    ours = RealignedModel(None, model)
    assert can_run_in_one_pass(ours.parts)
    assert not ours.one_pass.ready
    agrees(ours, model)


def test_two_models_do_not_run_in_one_pass():
    assert RealignedModel(tiny("llama", 1), tiny("llama", 2)).one_pass is None
