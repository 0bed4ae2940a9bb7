"""The readout bottleneck: its network, its training, and its maps."""

import math
from dataclasses import replace

import pytest
import torch
from quarters import LAYER, blobs, network
from torch import nn
from torch.nn import functional as F

import heatproof as hp
from heatproof.errors import InputError, TrainingError
from heatproof.methods.readout import ReadoutBottleneck
from heatproof.methods.readout_network import WEIGHTS, collected, initial, predicted
from heatproof.methods.restriction import Mask, statistics_of
from heatproof.testing import ContractNet, check_method

RECIPE = ReadoutBottleneck(layer=LAYER, readouts=(LAYER, "features.0", "head.2"), beta=0.1, rate=0.01, epochs=4)


def batches(count=256, seed=0):
    images, labels = blobs(count, seed)
    return list(zip(images.split(16), labels.split(16), strict=True))


@pytest.fixture(scope="module")
def trained():
    model = network()
    return model, RECIPE.train(model, batches())


def test_features_of_one_pass_are_those_of_the_layers():
    model, (x, _) = network(), blobs(3)
    model.features[1].inplace = True  # what is read must not be what the next layer makes of it
    logits, signal, (first, last) = collected(model, LAYER, ("features.0", "head.2"), x, torch.arange(3))
    assert torch.equal(logits, model(x))
    assert torch.equal(first, model.features[0](x))
    assert torch.equal(signal, model.features[:4](x))
    assert torch.equal(last[:, :, 0, 0], logits)


def test_the_readout_is_a_network_of_1x1_convolutions():
    weights = initial(5, 3, 2.0, seed=1)
    layers = [nn.Conv2d(5, 2, 1), nn.Conv2d(2, 6, 1), nn.Conv2d(6, 3, 1)]
    for layer, weight, bias in zip(layers, weights[::2], weights[1::2], strict=True):
        layer.weight.data, layer.bias.data = weight, bias
    reference = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])
    near, far = torch.randn(2, 4, 6, 6), torch.randn(2, 1, 3, 3)
    joined = torch.cat([near, F.interpolate(far, (6, 6), mode="bilinear", align_corners=False)], 1)
    alpha = predicted(weights, [near, far], torch.empty(2, 3, 6, 6))
    torch.testing.assert_close(alpha, reference(joined))
    # At first nearly everything passes, everywhere: the last bias stands alone.
    assert weights[5].tolist() == [2.0] * 3
    assert weights[4].abs().max() <= 1e-3 / math.sqrt(6)


def test_training_lowers_information_and_keeps_the_label(trained):
    model, method = trained
    x, y = blobs(64, seed=9)
    diagnostics = method.explain(model, x, y).diagnostics
    started = RECIPE.start - 0.01  # about α nats an element pass a mask of sigmoid(α)
    assert diagnostics["information"].mean() < 0.5 * started
    assert diagnostics["probability-after"].mean() > 0.9 * diagnostics["probability-before"].mean()


def test_bits_are_where_the_object_is(trained):
    model, method = trained
    x, y = blobs(64, seed=8)
    quarters = F.avg_pool2d(method(model, x, y), 8).flatten(1)
    assert (quarters.argmax(1) == y).float().mean() > 0.9


def test_maps_sum_to_the_bits_and_do_not_depend_on_the_label(trained):
    model, method = trained
    x, y = blobs(4, seed=2)
    explanation = method.explain(model, x, y)
    bits = explanation.diagnostics["bits"]
    torch.testing.assert_close(explanation.maps.flatten(1).sum(1), bits, rtol=1e-5, atol=0)
    torch.testing.assert_close(explanation.diagnostics["information"], bits * math.log(2) / 512)
    assert torch.equal(method(model, x, (y + 1) % 4), explanation.maps)
    plain = model(x).softmax(1).gather(1, y[:, None])[:, 0]
    torch.testing.assert_close(explanation.diagnostics["probability-before"], plain)


def left_of(model, method, batched):
    """The labels' probability by guessing, by the network, and behind the bottleneck, a sample at a time."""
    images, labels = (torch.cat(parts) for parts in zip(*batched, strict=True))
    same = [a == b for i, a in enumerate(labels.tolist()) for j, b in enumerate(labels.tolist()) if i != j]
    plain = model(images).softmax(1).gather(1, labels[:, None]).mean().item()
    behind = []
    for x, y in zip(images.split(1), labels.split(1), strict=True):
        _, signal, features = collected(model, LAYER, method.readouts, x, torch.arange(1))
        mask = Mask(signal, statistics_of(method.fitted, signal, 0.01, 0.01), 1.0, "paper")
        center, spread, _ = mask(predicted([method.fitted[name] for name in WEIGHTS], features, signal))
        noise = hp.draws.normal(signal, 0, "readout", method.epochs, samples=hp.draws.marks(x))
        above = model.head(model.features[4](center + spread * noise))
        behind.append(above.softmax(1)[0, y].item())
    return sum(same) / len(same), plain, sum(behind) / len(behind)


def test_training_that_left_nothing_of_the_labels_is_an_error_that_says_what_to_do(tmp_path):
    model, path = network(), tmp_path / "readout"
    closing = replace(RECIPE, beta=1e4, rate=0.1, epochs=3)
    with pytest.raises(TrainingError) as error:
        closing.train(model, batches(), checkpoint=path)
    guessed, plain, behind = left_of(model, replace(closing, floor=0.0).train(model, batches()), batches())
    assert behind - guessed < 0.1 * (plain - guessed)
    assert str(error.value) == (
        "Expected a readout behind which the labels keep at least 0.1, its `floor`, of what the network gives them "
        f"beyond guessing, but after 3 epochs of 256 samples at rate 0.1 their probability is {behind:.2g}, without it "
        f"{plain:.2g}, by guessing {guessed:.2g}: its training failed. Train it on more samples or for more epochs, at "
        "another rate, or with a beta below 10000; floor=0 takes any."
    )
    with pytest.raises(TrainingError, match="training failed"):
        closing.train(model, [], checkpoint=path)  # nothing is trained again
    assert closing.fit_reads == 5
    lenient = replace(closing, floor=0.0)
    assert lenient.fit_reads == 4
    assert lenient.train(model, [], checkpoint=path) == lenient.train(model, batches())


def test_the_floor_is_a_share_of_what_the_network_knows_beyond_guessing(trained):
    model, method = trained
    recipe = replace(RECIPE, beta=3.0)
    without = replace(recipe, floor=0.0).train(model, batches())
    guessed, plain, behind = left_of(model, without, batches())
    kept = (behind - guessed) / (plain - guessed)
    assert kept == pytest.approx(0.9987, abs=1e-3)
    passing = replace(recipe, floor=kept - 1e-5).train(model, batches())
    assert all(torch.equal(passing.fitted[name], without.fitted[name]) for name in WEIGHTS)
    with pytest.raises(TrainingError, match="training failed"):
        replace(recipe, floor=kept + 1e-5).train(model, batches())
    with pytest.raises(InputError, match=r"fitted with floor '0\.5', but its floor is '0\.1'"):
        replace(method, floor=0.5)(model, *blobs(2))
    with pytest.raises(InputError, match=r"floor to be a share within 0 and 1, but got 1\.5"):
        replace(RECIPE, floor=1.5)


def test_a_network_that_only_guesses_has_nothing_to_lose():
    model = network()
    model.head[2].weight.zero_()
    model.head[2].bias.zero_()
    assert replace(RECIPE, beta=1e4, rate=0.1, epochs=1, floor=1.0).train(model, batches(32)).fitted is not None


def test_weights_that_are_not_numbers_are_a_failure():
    with pytest.raises(TrainingError, match="their probability is nan"):
        replace(RECIPE, rate=1e30).train(network(), batches(64))


def test_training_is_repeatable_and_hears_of_progress():
    model, recipe = network(), replace(RECIPE, epochs=2)
    heard = []
    one = recipe.train(model, batches(32), progress=heard.append)
    assert one == recipe.fit(model, batches(32))
    assert [(p.epoch, p.epochs, p.batch) for p in heard] == [(1, 2, 1), (1, 2, 2), (2, 2, 1), (2, 2, 2)]
    assert heard[0].information == pytest.approx(5.0, abs=0.1)
    assert heard[-1].information < heard[0].information


def test_training_goes_on_from_a_checkpoint(tmp_path):
    model, path = network(), tmp_path / "readout.safetensors"
    whole = RECIPE.train(model, batches(64))

    def stop(update):
        if (update.epoch, update.batch) == (3, 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        RECIPE.train(model, batches(64), checkpoint=path, progress=stop)
    heard = []
    resumed = RECIPE.train(model, batches(64), checkpoint=path, progress=heard.append)
    assert resumed == whole
    assert heard[0].epoch == 3
    assert RECIPE.train(model, [], checkpoint=path) == whole  # nothing is left to do


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    model, path = network(), tmp_path / "readout.safetensors"
    replace(RECIPE, epochs=1).train(model, batches(32), checkpoint=path)
    with pytest.raises(InputError, match="checkpoint of this training, but it differs in beta"):
        replace(RECIPE, epochs=1, beta=3.0).train(model, batches(32), checkpoint=path)
    model.head[2].bias += 1
    with pytest.raises(InputError, match="differs in the network"):
        replace(RECIPE, epochs=1).train(model, batches(32), checkpoint=path)


def test_another_recipe_or_network_is_refused_and_a_changed_one_reuses(trained):
    model, method = trained
    x, y = blobs(2)
    with pytest.raises(InputError, match=r"fitted with beta '1\.0', but its beta is '0\.1'"):
        replace(method, beta=1.0)(model, x, y)
    changed = network()
    changed.features[0].weight += 0.1
    with pytest.raises(InputError, match="but got another"):
        method(changed, x, y)
    assert method.on_changed_model == "reuse"
    reused = method.on_changed(changed, [])
    assert all(torch.equal(reused.fitted[name], method.fitted[name]) for name in WEIGHTS)
    assert not torch.equal(reused(changed, x, y), method(model, x, y))
    assert torch.equal(hp.draws.reseed(method, 1)(model, x, y), method(model, x, y))  # the seed is that of training


def test_layers_that_are_not_named_are_found_in_training(tmp_path):
    model, recipe = network(), ReadoutBottleneck(beta=0.1, rate=0.01, epochs=1)
    named = replace(recipe, layer="features", readouts=("features", "head.0", "head"))
    method, twin = recipe.fit(model, batches(32), checkpoint=tmp_path / "readout"), named.fit(model, batches(32))
    assert {**method.fitted.facts} == {**twin.fitted.facts}
    assert method.fitted == twin.fitted
    assert recipe.fit(model, batches(32), checkpoint=tmp_path / "readout") == method


def test_the_contract():
    model = ContractNet()
    images = torch.randn(24, 3, 16, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    labels = torch.arange(24) % 5
    recipe = ReadoutBottleneck(layer=LAYER, readouts=("features.1", LAYER, "classifier"), epochs=2, samples=3)
    check_method(recipe.train(model, [(images[:12], labels[:12]), (images[12:], labels[12:])]))


def test_what_it_cannot_train_on_is_named():
    model = network()
    with pytest.raises(InputError, match="one without labels"):
        RECIPE.fit(model, [blobs(4)[0]])
    with pytest.raises(InputError, match="read again in each epoch"):
        RECIPE.fit(model, iter(batches(32)))
    with pytest.raises(InputError, match="between 0 and 3"):
        RECIPE.fit(model, [(blobs(4)[0], torch.arange(4) + 1)])
    with pytest.raises(InputError, match="epochs to be at least 1"):
        replace(RECIPE, epochs=0)
    with pytest.raises(InputError, match="noise to be 'paper'"):
        replace(RECIPE, noise="none")
    with pytest.raises(InputError, match="has seen no data"):
        RECIPE(model, *blobs(2))
