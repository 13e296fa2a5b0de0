"""A base that bitsandbytes has quantised is mixed with its adapter as PEFT runs it.

`make test` runs this folder by itself, with bitsandbytes on the path. It is skipped elsewhere.
"""

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, LlamaConfig, LlamaForCausalLM

from dera import RealignedModel, sample_completions
from dera.model.proof import reading
from tests.dera.architectures import EOS, PAD, tiny_adapter
from tests.dera.tokenizers import word_tokenizer

pytest.importorskip("bitsandbytes", reason="`make test` runs these tests with bitsandbytes")

#: bitsandbytes wants dimensions that are multiples of 32.
SHAPE = dict(
    vocab_size=13,
    hidden_size=64,
    intermediate_size=128,
    num_hidden_layers=2,
    num_attention_heads=2,
    initializer_range=0.3,
    bos_token_id=None,
    eos_token_id=EOS,
    pad_token_id=PAD,
)
FOUR_BITS = dict(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32)
TOKENS = torch.tensor([[3, 4, 5, 6, 7, 8], [PAD, PAD, 9, 3, 5, 4]])
MASK = (TOKENS != PAD).long()
POSITIONS = (MASK.cumsum(1) - 1).clamp(min=0)
INPUTS = dict(input_ids=TOKENS, attention_mask=MASK, position_ids=POSITIONS)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A reference and an adapter on disk."""
    folder = tmp_path_factory.mktemp("pair")
    torch.manual_seed(0)
    base = LlamaForCausalLM(LlamaConfig(**SHAPE))
    base.save_pretrained(folder / "reference")
    word_tokenizer().save_pretrained(folder / "reference")
    adapter = tiny_adapter(base, 2, target_modules="all-linear")
    adapter.save_pretrained(folder / "adapter")
    return str(folder / "reference"), str(folder / "adapter")


def quantised(folders, **settings):
    """The reference, quantised, which PEFT has not touched."""
    config = BitsAndBytesConfig(**settings)
    return AutoModelForCausalLM.from_pretrained(folders[0], quantization_config=config).eval()


def realigned(folders, one_pass=True, **settings):
    """The pair on a quantised base, in one pass or with PEFT's adapters switched on and off."""
    config = BitsAndBytesConfig(**settings)
    model = RealignedModel.from_pretrained(*folders, quantization_config=config)
    if not one_pass:
        vars(model.one_pass)["_trial"] = False
    return model


def alone(folders, **settings):
    """What PEFT says with the adapter off and on, from a model of its own that was not read before.

    On a CPU 4-bit weights that were used are broken by PEFT when it puts an adapter on them.
    """
    model = PeftModel.from_pretrained(quantised(folders, **settings), folders[1]).eval()
    with torch.no_grad():
        on = model(**INPUTS).logits
        with model.disable_adapter():
            off = model(**INPUTS).logits
    return off, on


def read(model, lam):
    with torch.no_grad():
        return model(**INPUTS, lam=lam).logits


def largest_error(got, expected):
    """The largest difference at tokens that are no padding, over how far the expected spread."""
    return ((got - expected)[MASK.bool()].abs().max() / expected.std()).item()


def test_four_bits_run_in_one_pass_and_give_what_peft_gives(folders):
    off, on = alone(folders, **FOUR_BITS)
    model = realigned(folders, **FOUR_BITS)
    assert model.one_pass is not None
    assert model.one_pass.ready
    expected = {0.0: off, 1.0: on, 0.5: (off + on) / 2, 2.0: 2 * on - off}
    for lam, logits in expected.items():
        assert largest_error(read(model, lam), logits) < 1e-3
    # The adapter and quantising change far more than that.
    assert largest_error(off, on) > 0.1
    whole = AutoModelForCausalLM.from_pretrained(folders[0]).eval()
    with torch.no_grad():
        assert largest_error(off, whole(**INPUTS).logits) > 0.05


def test_a_loaded_reference_is_the_quantised_reference(folders):
    """Loading reads a pair to prove it, and must leave the weights as they are."""
    with torch.no_grad():
        expected = quantised(folders, **FOUR_BITS)(**INPUTS).logits
    model = realigned(folders, **FOUR_BITS)
    assert largest_error(read(model, 0.0), expected) < 1e-3
    assert largest_error(read(model, 0.0), expected) < 1e-3


def test_eight_bits_give_what_peft_gives(folders):
    """Rows are rounded together in 8 bits, so that an entry may differ by its rounding."""
    off, on = alone(folders, load_in_8bit=True)
    model = realigned(folders, load_in_8bit=True)
    assert model.one_pass is not None
    assert model.one_pass.ready
    assert largest_error(read(model, 0.0), off) < 0.1
    assert largest_error(read(model, 1.0), on) < 0.1
    assert largest_error(read(model, 0.5), (off + on) / 2) < 0.1
    assert largest_error(off, on) > 0.3


def test_texts_are_drawn_from_four_bits(folders):
    """With the same random numbers one pass and switched adapters draw the same texts."""
    texts = []
    for one_pass in (True, False):
        model = realigned(folders, one_pass, **FOUR_BITS)
        torch.manual_seed(0)
        drawn = sample_completions(model, word_tokenizer(), ["w3 w4", "w5"] * 8, 6, lam=1.5)
        texts.append(drawn.token_ids())
    assert texts[0] == texts[1]


@pytest.mark.parametrize("settings", [dict(load_in_8bit=True), FOUR_BITS], ids=["8", "4"])
def test_a_loss_reaches_the_adapter(folders, settings):
    """Its gradients through one pass are those through PEFT's switched adapters."""
    gradients = []
    for one_pass in (True, False):
        model = realigned(folders, one_pass, **settings)
        adapter = {
            name: weight for name, weight in model.aligned.named_parameters() if "lora_" in name
        }
        for weight in adapter.values():
            weight.requires_grad_(True)
        model(**INPUTS, lam=1.5).logits.log_softmax(-1)[:, -1, 3].sum().backward()
        gradients.append(torch.cat([weight.grad.flatten() for weight in adapter.values()]))
    assert gradients[0].norm() > 0
    assert torch.cosine_similarity(*gradients, dim=0) > 0.99


def test_a_fault_of_a_quantised_pair_says_what_rounding_does(folders, monkeypatch):
    """Readings of one text differ by their rounding, which is a fault where none is allowed."""
    config = BitsAndBytesConfig(load_in_8bit=True)
    model = RealignedModel.from_pretrained(*folders, quantization_config=config, check=False)
    monkeypatch.setattr(reading, "tolerance_of", lambda bases: 0.0)
    with pytest.raises(ValueError, match=r"off by .* rounds the rows .* check=False"):
        reading.prove_by_reading(model)
