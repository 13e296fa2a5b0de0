"""Calls leave no state on the models that they share, and follow what users do between calls."""

import copy
import sys
import threading
from contextlib import contextmanager

import pytest
import torch
from peft import IA3Config, LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora.layer import LoraLayer
from transformers import PreTrainedModel

from dera import RealignedModel
from tests.dera.architectures import EOS, tiny, tiny_adapter
from tests.dera.oracle import Oracle, mixed, part_logits
from tests.dera.test_generate import PROMPTS, padded
from tests.dera.tokenizers import word_tokenizer

IDS = torch.tensor([[3, 4, 5, 6, 7]])
TARGETS = ["q_proj", "v_proj", "down_proj"]


def lora(**changes):
    options = dict(r=4, lora_alpha=8, target_modules=TARGETS, task_type="CAUSAL_LM")
    return LoraConfig(**(options | changes))


def shaken(model, adapter, seed):
    """Give an adapter random weights, far enough from nothing to change the logits."""
    generator = torch.Generator().manual_seed(seed)
    for name, weight in model.named_parameters():
        is_its = f".{adapter}." in name or name.endswith(f".{adapter}")
        if is_its and "magnitude" not in name:
            weight.data.copy_(torch.randn(weight.shape, generator=generator) * 0.3)
    return model


def adapted(names=("default",), **changes):
    """A PEFT model with an adapter of each name. The same name has the same weights."""
    model = get_peft_model(tiny("llama", 1), lora(**changes), adapter_name=names[0])
    for name in names[1:]:
        model.add_adapter(name, lora(**changes))
    for name in names:
        shaken(model, name, sum(map(ord, name)))
    return model.eval()


def alone(model, adapter):
    """A whole copy of a PEFT model's base with one adapter merged into it."""
    merged = copy.deepcopy(model)
    merged.set_adapter(adapter)
    return merged.merge_and_unload(adapter_names=[adapter]).eval()


def is_mixture(ours, aligned, lam=0.5, reference=None):
    """Whether the logits are the mixture of two models, each read by itself in float64."""
    parts = [(reference or tiny("llama", 1)), aligned]
    expected = mixed([part_logits(copy.deepcopy(part).double(), IDS) for part in parts], [lam])
    with torch.no_grad():
        got = ours(input_ids=IDS, lam=lam).logits[0]
    return torch.allclose(got.double(), expected, rtol=1e-4, atol=1e-3)


def state_of(model):
    """Everything that a call might leave behind in a model."""
    attributes = ("training", "_active_adapter", "_disable_adapters", "active_adapter")
    state = {}
    for name, module in model.named_modules():
        state[name] = [str(vars(module).get(attribute)) for attribute in attributes]
        state[name].append(list(getattr(module, "merged_adapters", [])))
        state[name].append(len(module._forward_hooks) + len(module._forward_pre_hooks))
        state[name].append("forward" in vars(module))
    trained = {name: weight.requires_grad for name, weight in model.named_parameters()}
    weights = {name: weight.clone() for name, weight in model.state_dict().items()}
    return state, trained, weights


def assert_unchanged(model, before):
    state, trained, weights = state_of(model)
    assert state == before[0]
    assert trained == before[1]
    assert weights.keys() == before[2].keys()
    assert all(torch.equal(weight, before[2][name]) for name, weight in weights.items())


# Names


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Folders of a reference and of two adapters, and the whole models that the adapters make."""
    folder = tmp_path_factory.mktemp("saved")
    tiny("llama", 1).save_pretrained(folder / "reference")
    word_tokenizer().save_pretrained(folder / "reference")
    whole = {}
    for name in ("first", "second"):
        model = adapted([name])
        whole[name] = alone(model, name)
        model.peft_config[name].base_model_name_or_path = str(folder / "reference")
        model.save_pretrained(folder)  # into a folder that has the adapter's name
    return folder, whole


NAMES = [
    ("0", "1"),
    ("model", "layers"),
    ("q_proj", "v_proj"),
    ("v1.0", "a.b.c"),
    ("größer", "短い"),
    ("adapter", "aligned"),
    ("lora_A", "weight"),
    ("default", "base_model"),
    ("two words", "a/b"),
    ("1", "11"),
]


@pytest.mark.parametrize("names", NAMES, ids=str)
def test_aligned_models_may_have_any_name(saved, names):
    folder, whole = saved
    paths = [folder / "first", folder / "second"]
    aligned = paths if names == ("0", "1") else dict(zip(names, paths, strict=True))
    ours = RealignedModel.from_pretrained(folder / "reference", aligned)
    assert ours.names == list(names)
    parts = [tiny("llama", 1), whole["first"], whole["second"]]
    expected = mixed([part_logits(part.double(), IDS) for part in parts], [0.3, 0.6])
    with torch.no_grad():
        got = ours(input_ids=IDS, lam={names[1]: 0.6, names[0]: 0.3}).logits[0]
    torch.testing.assert_close(got.double(), expected, rtol=1e-4, atol=1e-3)
    with pytest.raises(ValueError, match="nobody") as refusal:
        ours(input_ids=IDS, lam={"nobody": 0.3})
    assert all(name in str(refusal.value) for name in names)


def test_a_refusal_of_an_adapter_has_the_user_s_name_for_it(saved, tmp_path):
    folder, _ = saved
    larger = tiny_adapter(tiny("llama", 1, hidden_size=32), 2, target_modules=TARGETS)
    larger.peft_config["default"].base_model_name_or_path = str(folder / "reference")
    larger.save_pretrained(tmp_path / "larger")
    with pytest.raises(ValueError, match="does not fit") as refusal:
        RealignedModel.from_pretrained(folder / "reference", {"kind.one": tmp_path / "larger"})
    assert "lora_A.kind.one.weight" in str(refusal.value)


def test_adapters_of_a_model_in_memory_may_be_given_other_names():
    model = adapted(["default", "brief"])
    ours = RealignedModel(None, model, adapters={"v2.0": "brief"})
    assert ours.names == ["v2.0"]
    assert is_mixture(ours, alone(model, "brief"))
    with pytest.raises(ValueError, match=r"has no adapter \['v2.0'\]: it has \['default', 'bri"):
        RealignedModel(None, model, adapters=["v2.0"])


# Threads


@contextmanager
def quick_switching():
    """Let Python switch between threads as often as it can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def at_once(calls):
    """Run functions in threads that begin together; return results or errors in their order."""
    barrier = threading.Barrier(len(calls))
    results = [None] * len(calls)

    def run(index):
        barrier.wait()
        try:
            results[index] = calls[index]()
        except Exception as error:
            results[index] = error

    threads = [threading.Thread(target=run, args=[index]) for index in range(len(calls))]
    with quick_switching():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return results


def dora():
    return adapted(use_dora=True)


def ia3():
    config = IA3Config(
        target_modules=TARGETS, feedforward_modules=["down_proj"], task_type="CAUSAL_LM"
    )
    return shaken(get_peft_model(tiny("llama", 1), config), "default", 5).eval()


def with_a_trained_head():
    model = get_peft_model(tiny("llama", 1), lora(modules_to_save=["lm_head"]))
    return shaken(model, "default", 5).eval()


def with_dropout():
    """Its layers drop values out, for it is in training mode."""
    return adapted(lora_dropout=0.5).train()


def rescaling(seed, factor):
    """A whole model whose rotary embedding depends on how long the text is."""
    rope = dict(
        rope_type="longrope",
        rope_theta=10000.0,
        original_max_position_embeddings=8,
        factor=4.0,
        short_factor=[1.0] * 4,
        long_factor=[factor] * 4,
    )
    return tiny("llama", seed, rope_parameters=rope, max_position_embeddings=32)


def lora_on_longrope():
    return shaken(get_peft_model(rescaling(1, 9.0), lora()), "default", 5).eval()


def of_one_peft_model(make, reference=lambda: tiny("llama", 1)):
    """A pair of one PEFT model, and the two whole models to compare with."""
    model = make()
    return RealignedModel(None, model), [reference(), alone(model, "default")]


def of_whole_models_in_training_mode():
    parts = [tiny("gpt2", seed, resid_pdrop=0.5, attn_pdrop=0.5) for seed in (1, 2)]
    ours = RealignedModel(*(copy.deepcopy(part).train() for part in parts))
    return ours, parts


def of_rescaling_models():
    parts = [rescaling(1, 9.0), rescaling(2, 5.0)]
    return RealignedModel(*parts), copy.deepcopy(parts)


PAIRS = {
    "lora": lambda: of_one_peft_model(adapted),
    "lora in upper layers": lambda: of_one_peft_model(lambda: adapted(layers_to_transform=[1])),
    "dora": lambda: of_one_peft_model(dora),
    "ia3": lambda: of_one_peft_model(ia3),
    "trained head": lambda: of_one_peft_model(with_a_trained_head),
    "lora in training mode": lambda: of_one_peft_model(with_dropout),
    "dora in training mode": lambda: of_one_peft_model(
        lambda: adapted(use_dora=True, lora_dropout=0.5).train()
    ),
    "whole models in training mode": of_whole_models_in_training_mode,
    "longrope": of_rescaling_models,
    "lora on longrope": lambda: of_one_peft_model(lora_on_longrope, lambda: rescaling(1, 9.0)),
}


def prompts_of(rows):
    return padded([PROMPTS[row] for row in rows])


GREEDY = dict(max_new_tokens=4, do_sample=False)
CALLS = [([0, 1, 2, 3], 0.5), ([1], 1.0), ([2, 3], 0.0), ([3], 1.7), ([0, 2], [0.0, 1.0])]


@pytest.mark.parametrize("kind", PAIRS)
def test_calls_at_once_give_what_each_gives_alone(kind):
    """The calls have different lam and shapes. The oracle says what is right."""
    ours, parts = PAIRS[kind]()
    oracle = Oracle(parts)

    def call(rows, lam):
        return ours.generate(**prompts_of(rows), lam=lam, **GREEDY)

    def truth(rows, lam):
        weights = torch.tensor([lam] * len(rows) if isinstance(lam, float) else lam)[:, None]
        return oracle.generate(**prompts_of(rows), lam=weights, use_cache=False, **GREEDY)

    expected = [truth(*arguments) for arguments in CALLS]
    calls = [lambda a=arguments: call(*a) for arguments in CALLS * 2]
    assert all(map(same, at_once(calls), expected * 2))
    assert all(same(call(*a), right) for a, right in zip(CALLS, expected, strict=True))


def same(got, expected):
    return isinstance(got, torch.Tensor) and torch.equal(got, expected)


@pytest.mark.parametrize("make", [adapted, dora], ids=["lora", "dora"])
def test_realigned_models_that_share_one_peft_model_may_be_called_at_once(make):
    """One of them mixes the adapters in another order, and lengths and caches differ."""
    model = shaken(make(), "default", 5)
    model.add_adapter("brief", lora(use_dora=make is dora))
    shaken(model, "brief", 6).eval()
    wholes = [tiny("llama", 1), alone(model, "default"), alone(model, "brief")]
    both = RealignedModel(None, model, adapters=["default", "brief"])
    swapped = RealignedModel(None, model, adapters=["brief", "default"])

    def read(ours, lam, length):
        with torch.no_grad():
            return ours(input_ids=IDS[:, :length], lam=lam).logits[0]

    cases = [(0.4, 0.7, 5), (0.0, 0.0, 4), (0.0, 1.0, 3), (0.5, 0.0, 5)]
    calls, expected = [], []
    for first, second, length in cases * 2:
        calls += [
            lambda a=first, b=second, n=length: read(both, [a, b], n),
            lambda a=first, b=second, n=length: read(swapped, [b, a], n),
        ]
        logits = [part_logits(whole, IDS[:, :length]) for whole in wholes]
        expected += [mixed(logits, [first, second])] * 2
    for got, right in zip(at_once(calls), expected, strict=True):
        torch.testing.assert_close(got.double(), right, rtol=1e-4, atol=1e-3)


def test_encoder_decoders_with_an_adapter_may_be_called_at_once():
    config = LoraConfig(r=4, target_modules=["q", "v", "wo"], task_type="SEQ_2_SEQ_LM")
    model = shaken(get_peft_model(tiny("t5", 1), config), "default", 5).eval()
    oracle = Oracle([tiny("t5", 1), alone(model, "default")])
    ours = RealignedModel(None, model)
    cases = [([0, 1], 0.5), ([2], 0.0), ([1, 3], 1.0), ([3], 1.6)]

    def truth(rows, lam):
        weights = torch.full((len(rows), 1), lam)
        return oracle.generate(**prompts_of(rows), lam=weights, use_cache=False, **GREEDY)

    calls = [
        lambda r=rows, lam=lam: ours.generate(**prompts_of(r), lam=lam, **GREEDY)
        for rows, lam in cases * 2
    ]
    assert all(map(same, at_once(calls), [truth(*case) for case in cases] * 2))


@pytest.mark.parametrize("kind", ["dora", "whole models in training mode"])
def test_speculative_calls_at_once_give_the_plain_text(kind):
    ours, parts = PAIRS[kind]()
    oracle = Oracle(parts)
    cases = [([0], 0.5), ([1, 2], 0.8), ([3], 1.4)]

    def truth(rows, lam):
        weights = torch.full((len(rows), 1), lam)
        return oracle.generate(**prompts_of(rows), lam=weights, use_cache=False, **GREEDY)

    calls = [
        lambda r=rows, lam=lam: ours.generate(
            **prompts_of(r), lam=lam, speculative=True, eos_token_id=EOS, **GREEDY
        )
        for rows, lam in cases * 2
    ]
    assert all(map(same, at_once(calls), [truth(*case) for case in cases] * 2))


# What users do between calls


def load_under_its_name(model, other, name="default"):
    """Delete an adapter, and load another's weights under its name."""
    config = copy.deepcopy(other.peft_config[name])
    model.add_adapter("meanwhile", config)
    model.base_model.set_adapter("meanwhile")
    model.delete_adapter(name)
    model.add_adapter(name, config)
    model.base_model.set_adapter(name)
    weights = dict(other.named_parameters())
    for key, weight in model.named_parameters():
        if f".{name}." in key:
            weight.data.copy_(weights[key].data)


def scale(model):
    for module in model.modules():
        if isinstance(module, LoraLayer):
            module.set_scale("default", 0.4)


def train_all(model):
    for weight in model.parameters():
        weight.requires_grad_(True)


#: What a user does to a PEFT model with the adapters "default", which is mixed, and "brief".
CHANGES = {
    "two adapters on": lambda model: model.base_model.set_adapter(["default", "brief"]),
    "another adapter on": lambda model: model.set_adapter("brief"),
    "adapters off": lambda model: model.base_model.disable_adapter_layers(),
    "nothing trained": lambda model: model.requires_grad_(False),
    "all trained": train_all,
    "training mode": lambda model: model.train(),
    "another adapter added": lambda model: model.add_adapter("third", lora(r=2)),
    "another adapter deleted": lambda model: model.delete_adapter("brief"),
    "merged": lambda model: model.merge_adapter(adapter_names=["default"]),
    "another merged": lambda model: model.merge_adapter(adapter_names=["brief"]),
    "both merged": lambda model: model.merge_adapter(adapter_names=["default", "brief"]),
}
KINDS = {"lora": {}, "dora": dict(use_dora=True)}


@pytest.mark.filterwarnings("ignore:Adapter .* was active which is now deleted")
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_call_is_right_after_a_change_and_leaves_it_as_it_is(kind, change):
    model = adapted(["default", "brief"], **KINDS[kind])
    aligned = alone(model, "default")
    ours = RealignedModel(None, model, adapters=["default"])
    assert is_mixture(ours, aligned)
    CHANGES[change](model)
    before = state_of(model)
    for lam in (0.5, 1.0, 0.0, 1.5):
        assert is_mixture(ours, aligned, lam)
        assert_unchanged(model, before)


REPLACEMENTS = {
    "the same kind": lambda: shaken(adapted(), "default", 77),
    "another rank and scale": lambda: shaken(adapted(r=2, lora_alpha=1), "default", 78),
    "other layers": lambda: shaken(
        adapted(layers_to_transform=[1], target_modules=["k_proj", "up_proj"]), "default", 79
    ),
    "dora": lambda: shaken(adapted(use_dora=True), "default", 80),
    "a trained head": lambda: shaken(
        get_peft_model(tiny("llama", 1), lora(modules_to_save=["lm_head"])), "default", 81
    ),
}


@pytest.mark.filterwarnings("ignore:Adapter .* was active which is now deleted")
@pytest.mark.parametrize("replacement", REPLACEMENTS)
@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_loaded_under_the_name_of_a_deleted_one_is_used(kind, replacement):
    model = adapted(**KINDS[kind])
    ours = RealignedModel(None, model)
    assert is_mixture(ours, alone(model, "default"))
    other = REPLACEMENTS[replacement]().eval()
    load_under_its_name(model, other)
    for lam in (0.5, 1.0, 0.0):
        assert is_mixture(ours, alone(other, "default"), lam)


def test_a_changed_scale_is_followed():
    for options in KINDS.values():
        model = adapted(**options)
        ours = RealignedModel(None, model)
        old = alone(model, "default")
        assert is_mixture(ours, old)
        scale(model)
        assert not is_mixture(ours, old)
        assert is_mixture(ours, alone(model, "default"))


@pytest.mark.filterwarnings("ignore:Adapter .* was active which is now deleted")
@pytest.mark.parametrize("kind", KINDS)
def test_a_deleted_adapter_is_missed_by_name_and_the_remedy_works(kind, tmp_path):
    model = adapted(["kind"], **KINDS[kind])
    aligned = alone(model, "kind")
    model.save_pretrained(tmp_path)
    ours = RealignedModel(None, model, adapters={"my model": "kind"})
    assert is_mixture(ours, aligned)
    model.delete_adapter("kind")
    message = "no adapter 'kind' any more, which is the aligned model 'my model'; it has \\[\\]"
    for lam in (0.5, 1.0):
        with pytest.raises(ValueError, match=message):
            ours(input_ids=IDS, lam=lam)
    assert is_mixture(ours, aligned, 0.0)  # the reference alone does without it
    model.load_adapter(tmp_path / "kind", adapter_name="kind")
    assert is_mixture(ours, aligned)


@pytest.mark.parametrize("unload", ["unload", "merge_and_unload"])
@pytest.mark.parametrize("kind", KINDS)
def test_unloaded_adapters_are_missed(kind, unload):
    model = adapted(**KINDS[kind])
    aligned = alone(model, "default")
    ours = RealignedModel(None, model)
    assert is_mixture(ours, aligned)
    getattr(model, unload)()
    for lam in (0.5, 1.0, 0.0):
        with pytest.raises(ValueError, match="load the models again, and make a new Realigned"):
            ours(input_ids=IDS, lam=lam)
    assert is_mixture(RealignedModel(None, adapted(**KINDS[kind])), aligned)


@pytest.mark.parametrize("change", ["deleted and loaded", "merged"])
def test_a_cache_that_another_adapter_began_is_refused(change):
    model = adapted()
    ours = RealignedModel(None, model)
    with torch.no_grad():
        cache = ours(input_ids=IDS[:, :3], lam=0.5, use_cache=True).past_key_values
        if change == "merged":
            model.merge_adapter()
        else:
            load_under_its_name(model, shaken(adapted(), "default", 77))
        with pytest.raises(ValueError, match="read the text again without past_key_values"):
            ours(input_ids=IDS[:, 3:], lam=0.5, past_key_values=cache)
        fresh = ours(input_ids=IDS, lam=0.5).logits[0]
    parts = [tiny("llama", 1), alone(model if change != "merged" else adapted(), "default")]
    expected = mixed([part_logits(part, IDS) for part in parts], [0.5])
    torch.testing.assert_close(fresh.double(), expected, rtol=1e-4, atol=1e-3)


class Broken(Exception):
    pass


@pytest.mark.parametrize("kind", ["lora", "dora", "lora in training mode", "trained head"])
def test_after_an_error_in_a_call_the_model_is_as_it_was(kind):
    """A hook on the last layer raises an error, in the reference's call and in the other's."""
    ours, (reference, aligned) = PAIRS[kind]()
    model = ours.aligned
    assert is_mixture(ours, aligned, reference=reference)
    before = state_of(model)
    for calls_before in (0, 1):
        left = [calls_before]

        def fail(module, inputs, left=left):
            left[0] -= 1
            if left[0] < 0:
                raise Broken

        hook = model.get_base_model().model.norm.register_forward_pre_hook(fail)
        ours(input_ids=IDS, lam=0.5) if ours.one_pass and calls_before else None
        with pytest.raises(Broken):
            ours(input_ids=IDS, lam=0.5)
        hook.remove()
        assert_unchanged(model, before)
        assert is_mixture(ours, aligned, reference=reference)


# Making a pair


def half_in_training_mode(model: PreTrainedModel) -> PreTrainedModel:
    model.model.layers[0].train()
    return model


CALLERS = {
    "whole": lambda: (tiny("llama", 1).train(), tiny("llama", 2).train()),
    "half": lambda: (half_in_training_mode(tiny("llama", 1)), tiny("llama", 2)),
    "lora": lambda: (None, adapted(lora_dropout=0.3).train()),
    "dora": lambda: (None, adapted(use_dora=True, lora_dropout=0.3).train()),
    "two active": lambda: (None, CHANGES["two adapters on"](m := adapted(["default", "b"])) or m),
}


@pytest.mark.parametrize("caller", CALLERS)
def test_making_and_calling_a_pair_changes_nothing_of_the_caller_s(caller):
    reference, aligned = CALLERS[caller]()
    models = [model for model in (reference, aligned) if model is not None]
    before = [state_of(model) for model in models]
    adapters = ["default"] if isinstance(aligned, PeftModel) else None
    configs = [(m.config.to_dict(), m.generation_config.to_dict()) for m in models]
    ours = RealignedModel(reference, aligned, adapters=adapters)
    for _ in range(2):
        for model, state in zip(models, before, strict=True):
            assert_unchanged(model, state)
        assert [(m.config.to_dict(), m.generation_config.to_dict()) for m in models] == configs
        ours.generate(**padded(PROMPTS), lam=[0.0, 0.5, 1.0, 2.0], max_new_tokens=3)
    assert not ours.training


@pytest.mark.parametrize("kind", ["lora", "dora", "whole"])
def test_decoding_is_without_dropout_whichever_mode_the_models_are_in(kind):
    if kind == "whole":
        parts = [tiny("gpt2", seed, resid_pdrop=0.5, embd_pdrop=0.5) for seed in (1, 2)]
        models = [copy.deepcopy(part).train() for part in parts]
        ours = RealignedModel(*models)
    else:
        aligned = adapted(lora_dropout=0.5, **KINDS[kind])
        parts = [tiny("llama", 1), alone(aligned, "default")]
        models = [aligned]
        ours = RealignedModel(None, aligned)
    for training in (True, False, True):
        for model in models:
            model.train(training)
        assert is_mixture(ours, parts[1], reference=parts[0])
        assert all(model.training == training for model in models)


def test_in_training_mode_the_models_are_in_their_own_modes():
    """`train()` reaches the models as torch's does, and values drop out then."""
    aligned = adapted(lora_dropout=0.5)
    ours = RealignedModel(None, aligned)
    exact = ours(input_ids=IDS, lam=0.5).logits
    ours.train()
    assert aligned.training
    assert not torch.allclose(ours(input_ids=IDS, lam=0.5).logits, exact, atol=1e-2)
    ours.eval()
    assert not aligned.training
    assert torch.equal(ours(input_ids=IDS, lam=0.5).logits, exact)
