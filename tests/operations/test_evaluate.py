import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import limner
from limner.core.errors import DataError, ModelError, UsageError
from limner.core.events import Finished, Progress, Saved, Table, Warned
from limner.data.cache import finish
from limner.data.images import save_picture
from limner.data.pack import building, write_pack
from limner.data.sources import open_data
from limner.operations.evaluate import Evaluate, evaluate

KEYS = {
    "kind", "format", "limner", "date", "title", "lead", "names", "columns", "subject", "data", "features", "protocol",
    "notes", "figures", "classes", "memorisation", "discriminator", "speed", "training", "machine", "seconds",
    "command",
}  # fmt: skip
ROW = {"kind", "name", "better", "says", "value", "low", "high", "range", "real", "seeds"}
QUICK = {"samples": 120, "features": "tiny"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A GAN that has hardly begun, on scikit-learn's 8×8 digits."""
    folder = tmp_path_factory.mktemp("runs") / "gan"
    for _ in limner.train("gan", data="digits", steps=30, width=8, batch=16, threads=1, out=folder):
        pass
    return folder


@pytest.fixture
def copied(run, tmp_path):
    """The run in a place of its own, where a report may lie beside it."""
    return shutil.copytree(run, tmp_path / "gan")


@pytest.fixture
def cats(tmp_path):
    return pictures(tmp_path / "cats", 0)


def pictures(folder, seed, count=40, side=12, channels=3):
    luck = np.random.default_rng(seed)
    for i in range(count):
        coarse = luck.integers(0, 256, (channels, 4, 4), dtype=np.uint8)
        folder.mkdir(parents=True, exist_ok=True)
        save_picture(coarse.repeat(side // 4, 1).repeat(side // 4, 2), folder / f"{i:03d}.png")
    return folder


def go(**choices):
    return list(evaluate(Evaluate.read(choices)))


def rows_of(report):
    return {row["kind"]: row for row in report["figures"]}


def read(folder):
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))


def check_page(folder):
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert "http:" not in text and "https:" not in text and "<script" not in text and "<link" not in text
    assert "@import" not in text and not re.search(r"url\(", text)
    return text


# --- known answers ----------------------------------------------------------------------------------------------------


def test_a_folder_beside_itself_is_perfect(cats, tmp_path):
    twin = shutil.copytree(cats, tmp_path / "twin")
    go(what=(str(cats), str(twin)), out="report", features="tiny")
    rows = rows_of(read(tmp_path / "report"))
    assert rows["fd"]["name"] == "FD-tiny" and rows["fd"]["value"] == pytest.approx(0, abs=1e-6)
    assert rows["coverage"]["value"] == rows["precision"]["value"] == rows["recall"]["value"] == 1
    assert rows["diversity"]["value"] == pytest.approx(1, rel=0.02)
    check_page(tmp_path / "report")


def test_a_metric_that_cannot_be_had_is_missed_aloud(cats, tmp_path):
    events = go(what=(str(cats), str(cats)), out="report", features="tiny", metrics=["fd", "classes", "distinct", "is"])
    notes = next(event for event in events if isinstance(event, Table)).notes
    assert set(rows_of(read(tmp_path / "report"))) == {"fd"}
    assert {note.partition(":")[0] for note in notes} >= {
        f"there is no {name}" for name in ("classes", "distinct", "is")
    }
    go(what=(str(cats), str(cats)), out="asked-for-nothing", features="tiny")
    assert "there is no" not in str(read(tmp_path / "asked-for-nothing")["notes"]).replace("there is no held-out", "")


def test_other_pictures_are_further_away(cats, tmp_path):
    dogs = pictures(tmp_path / "dogs", 1)
    dark = tmp_path / "dark"
    for i in range(40):
        dark.mkdir(exist_ok=True)
        save_picture(np.full((3, 12, 12), i, np.uint8), dark / f"{i}.png")
    go(what=(str(dogs), str(cats)), out="near", features="tiny")
    go(what=(str(dark), str(cats)), out="far", features="tiny")
    near, far = rows_of(read(tmp_path / "near")), rows_of(read(tmp_path / "far"))
    assert far["fd"]["value"] > 3 * near["fd"]["value"]
    assert far["coverage"]["value"] < near["coverage"]["value"]
    assert far["diversity"]["value"] < 0.5


def test_a_model_that_returns_training_pictures_copies(copied, monkeypatch):
    """By an index taken from the noise, so every part of the report sees the same copier."""
    data = finish(open_data("digits"))

    def generate(self, z, label=None):
        return data.take((z[:, 0].abs() * 1e4).long().numpy() % len(data))["x"]

    monkeypatch.setattr("limner.methods.gan.GAN.generate", generate)
    go(what=str(copied), **QUICK)
    report = read(copied / "evaluation")
    assert report["memorisation"]["identical"] == 1
    assert rows_of(report)["copying"]["value"] > 0.99
    assert rows_of(report)["fd"]["value"] < 3 * rows_of(report)["fd"]["real"]["value"]


def test_real_pictures_do_not_look_copied(tmp_path):
    """Two folders drawn from one distribution: a sample is as near to the other folder as its own pictures are."""
    luck = np.random.default_rng(5)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i, picture in enumerate(luck.integers(0, 256, (150, 1, 2, 2), dtype=np.uint8)):
            save_picture(picture.repeat(4, 1).repeat(4, 2), tmp_path / name / f"{i:03d}.png")
    go(what=("a", "b"), out="report", features="tiny", metrics=("memorisation",))
    row = rows_of(read(tmp_path / "report"))["copying"]
    assert row["low"] < 0.5 < row["high"]


def test_points_are_judged_by_their_modes(tmp_path, monkeypatch):
    for _ in limner.train("gan", data="ring", steps=2, width=8, batch=16, threads=1, out="ring"):
        pass
    ring = finish(open_data("ring", split="test"))

    def generate(self, z, label=None):
        return ring.take((z[:, 0].abs() * 1e5).long().numpy() % len(ring))["x"]

    monkeypatch.setattr("limner.methods.gan.GAN.generate", generate)
    events = go(what="ring", samples=1500)
    rows = rows_of(read(tmp_path / "ring" / "evaluation"))
    # Of a normal distribution in the plane, 1 − exp(−9/2) lies within 3 standard deviations.
    assert rows["high_quality"]["value"] == pytest.approx(1 - np.exp(-4.5), abs=0.01)
    assert rows["modes"]["value"] == 8 and rows["energy"]["value"] < 0.1
    assert isinstance(events[-1], Finished)
    check_page(tmp_path / "ring" / "evaluation")


def test_points_without_a_held_out_part_are_held_against_their_other_half(tmp_path):
    luck = np.random.default_rng(0)
    for name in "ab":
        with building(tmp_path / name) as folder:
            points = luck.uniform(-1, 1, (400, 2)).astype(np.float32)
            write_pack(folder, points, None, name=name, source="here")
    go(what=(str(tmp_path / "a"), str(tmp_path / "b")), out=tmp_path / "report")
    report = read(tmp_path / "report")
    assert rows_of(report)["energy"]["real"]["value"] > 0
    assert "real row: 200 real ones against 200 others: there is no held-out part" in report["notes"]


def test_stacked_digits_are_judged_by_their_thousand_modes(tmp_path):
    """Of 200 real triples nearly all differ: (1 - (1 - 1/1000)²⁰⁰) · 1000 = 181 of 1,000 modes are expected."""
    go(what=("stacked-digits", "stacked-digits"), samples=200, metrics=("classes",), out=tmp_path / "report")
    rows = rows_of(read(tmp_path / "report"))
    assert set(rows) == {"modes", "mode_kl"}
    assert rows["modes"]["value"] == pytest.approx(181, abs=20) and rows["modes"]["real"]["value"] > 150
    # So few samples cannot be spread evenly: all different, their divergence would be ln(1000 / 200).
    assert np.log(5) < rows["mode_kl"]["value"] < np.log(7)
    # Counting compares with nothing, and a report says so.
    assert read(tmp_path / "report")["protocol"]["reference"] == "–"


def test_scores_that_are_no_log_odds_are_not_held_against_the_truth(tmp_path):
    """The logistic function of a hinge loss's score is no probability."""
    list(limner.train("sngan", data="digits", steps=2, batch=8, width=4, threads=1, out=tmp_path / "run"))
    go(what=str(tmp_path / "run"), samples=200, metrics=("discriminator",))
    report = read(tmp_path / "run/evaluation")
    assert "calibration error" not in [row["name"] for row in report["discriminator"]["rows"]]
    assert report["discriminator"]["calibration"] is None
    page = (tmp_path / "run/evaluation/report.html").read_text()
    assert "no log-odds" in page and "is it right 8 times of 10" not in page


def test_a_collapsed_model_is_no_better_than_real_data(tmp_path, monkeypatch):
    """Of 200 digits 20 are set aside: too few to hold many samples against, which reach much by their number alone."""
    digits = finish(open_data("digits"))
    with building(tmp_path / "few") as folder:
        write_pack(folder, digits.samples[:200], None, name="few", source="here")
    list(limner.train("gan", data="few", augment="ada", steps=2, width=8, batch=16, threads=1, out=tmp_path / "run"))
    half = np.flatnonzero(digits.labels[200:] < 5) + 200

    def generate(self, z, label=None):
        return digits.take(half[(z[:, 0].abs() * 1e5).long().numpy() % len(half)])["x"]

    monkeypatch.setattr("limner.methods.gan.GAN.generate", generate)
    go(what=str(tmp_path / "run"), features="digits", samples=2000)
    report = read(tmp_path / "run/evaluation")
    rows = rows_of(report)
    for kind in ("coverage", "recall", "vendi"):
        assert rows[kind]["value"] < 0.9 * rows[kind]["real"]["value"]
    assert rows["is"]["value"] < 6 and rows["is"]["real"] is None
    assert "real row: 90 real ones against 90 others: 20 held out are too few" in report["notes"]
    assert "precision, recall, density, coverage, Vendi, distinct: 90 of each, in both columns" in report["notes"]


def test_samples_are_compared_as_a_png_would_hold_them(copied, monkeypatch):
    data = finish(open_data("digits"))

    def generate(self, z, label=None):
        x = data.take((z[:, 0].abs() * 1e4).long().numpy() % len(data))["x"]
        return x + (0.4 / 127.5) * torch.where(x < 0, 1.0, -1.0)

    monkeypatch.setattr("limner.methods.gan.GAN.generate", generate)
    go(what=str(copied), **QUICK, metrics=("memorisation",))
    assert read(copied / "evaluation")["memorisation"]["identical"] == 1


@pytest.mark.parametrize(("method", "choices", "level"), [
    ("gan", {"conditioning": "concat"}, True),
    ("wgan_gp", {}, False),
    ("r3gan", {"network": "dense", "conditioning": "projection"}, False),
])  # fmt: skip
def test_critics_and_those_that_know_classes_are_asked_too(method, choices, level, tmp_path):
    """A critic's scores have no level at which real begins: only their order counts."""
    run = tmp_path / "run"
    list(limner.train(method, data="digits", steps=2, width=16, batch=16, threads=1, out=run, **choices))
    go(what=str(run), **QUICK, metrics=("discriminator",))
    report = read(run / "evaluation")
    names = [row["name"] for row in report["discriminator"]["rows"]]
    assert "real above fake (AUC)" in names
    assert ("samples taken for fakes" in names) == ("calibration error" in names) == level
    assert ("no level at which real begins" in check_page(run / "evaluation")) != level


def test_a_discriminator_is_told_the_class_that_was_asked_for(tmp_path, monkeypatch):
    """One that says real where the class is the picture's: of data and samples whose classes are right, always."""
    list(limner.train("gan", data="digits", conditioning="concat", steps=2, width=8, batch=16, threads=1, out="run"))
    data = finish(open_data("digits"))
    by_class = [np.flatnonzero(data.labels == label) for label in range(10)]
    known = {data.samples[i].tobytes(): int(data.labels[i]) for i in range(len(data))}

    def generate(self, z, label=None):
        return data.take(np.array([by_class[one][i % 100] for i, one in enumerate(label.tolist())]))["x"]

    def judge(self, x, label=None):
        of = [known[picture.tobytes()] for picture in x.add(1).mul(127.5).round().to(torch.uint8).numpy()]
        return torch.where(torch.tensor(of) == label, 1.0, -1.0)

    monkeypatch.setattr("limner.methods.gan.GAN.generate", generate)
    monkeypatch.setattr("limner.methods.gan.GAN.judge", judge)
    go(what="run", **QUICK, metrics=("discriminator",))
    shares = {row["name"]: row["value"] for row in read(Path("run/evaluation"))["discriminator"]["rows"]}
    assert shares["training data taken for real"] == 1 and shares["samples taken for fakes"] == 0


# --- the report -------------------------------------------------------------------------------------------------------


def test_the_report_of_a_model(copied):
    events = go(what=str(copied), **QUICK)
    folder = copied / "evaluation"
    assert sorted(path.name for path in folder.iterdir()) == ["report.html", "report.json"]
    report = read(folder)
    assert set(report) == KEYS and report["format"] == 1
    assert all(set(row) == ROW for row in report["figures"])
    assert report["features"] == {"name": "tiny", "sha256": report["features"]["sha256"]}
    assert report["protocol"]["samples"] == 120 and report["command"].startswith("limner evaluate ")
    assert report["data"]["licence"] == "BSD-3-Clause" and report["training"]["steps"] == 30
    assert report["speed"]["images_per_second"] > 0
    kinds = list(rows_of(report))
    assert kinds[0] == "fd" and {"coverage", "diversity", "copying"} <= set(kinds)
    assert report["discriminator"]["counts"] == {"training": 1797, "unseen": 0, "samples": 120}
    table = next(event for event in events if isinstance(event, Table))
    assert table.columns == ("figure", "this model", "real data", "direction")
    assert any("no held-out part" in note for note in table.notes)
    assert [e.left for e in events if isinstance(e, Progress)][-1] >= 0
    text = check_page(folder)
    for heading in ("Every figure", "From one noise to another", "Is it copying?", "The discriminator", "Training",
                    "Speed and memory", "How this was measured", "To make this page again"):  # fmt: skip
        assert heading in text
    speed = text[text.index("<h3>Sampling</h3>") : text.index("How this was measured")]
    sampling, training = speed.split("<h3>Training</h3>")
    assert "images/s" in sampling and "images/s, previews and evaluations included" in training
    assert f"{report['training']['peak_memory_mb']:,.0f} MB" in training
    assert isinstance(events[-2], Saved) and isinstance(events[-1], Finished)


def test_the_same_request_gives_the_same_figures(copied):
    go(what=str(copied), out="a", **QUICK)
    go(what=str(copied / "model.safetensors"), out="b", **QUICK)
    a, b = read(Path("a")), read(Path("b"))
    assert a["figures"] == b["figures"] and a["discriminator"] == b["discriminator"]


def test_several_seeds_give_mean_and_spread(copied):
    go(what=str(copied), seeds=2, metrics=("fd",), **QUICK)
    row = rows_of(read(copied / "evaluation"))["fd"]
    assert len(row["seeds"]) == 2 and row["seeds"][0] != row["seeds"][1]
    assert row["value"] == pytest.approx(sum(row["seeds"]) / 2)
    assert row["high"] - row["value"] == pytest.approx(abs(row["seeds"][0] - row["seeds"][1]) / 2**0.5)
    assert row["range"] == "1 standard deviation, 2 seeds"


def test_only_the_metrics_that_were_asked_for(copied):
    go(what=str(copied), metrics=("prdc", "diversity"), **QUICK)
    report = read(copied / "evaluation")
    assert list(rows_of(report)) == ["precision", "recall", "density", "coverage", "diversity"]
    assert report["memorisation"] is None and report["discriminator"] is None


def test_names_from_files_are_escaped(tmp_path):
    nasty = pictures(tmp_path / "<img src=x onerror=alert(1)>", 0, count=12)
    plain = pictures(tmp_path / "plain", 1, count=12)
    go(what=(str(nasty), str(plain)), out="report", features="tiny")
    assert "<img src=x" not in check_page(tmp_path / "report")


def test_what_is_kept_does_not_grow(copied, monkeypatch):
    """However many samples are asked for, few are alive at once."""
    alive = []
    from limner.operations import evaluate as operation

    sample = operation._Evaluation._sample

    def watched(self, cloud, *rest, **more):
        for event in sample(self, cloud, *rest, **more):
            alive.append(sum(map(len, self.seen.first)) + sum(map(len, self.seen.classes.values())))
            assert len(cloud.kept.rows) <= cloud.kept.capacity
            yield event

    monkeypatch.setattr(operation._Evaluation, "_sample", watched)
    monkeypatch.setattr("limner.metrics.figures.KEPT", 200)
    monkeypatch.setattr(operation, "_QUERIES", 100)
    go(what=str(copied), samples=3000, features="tiny", metrics=("fd",))
    assert max(alive, default=0) <= 100 + 10 * 12


# --- what goes wrong --------------------------------------------------------------------------------------------------


def said(kind, **choices):
    with pytest.raises(kind) as caught:
        go(**choices)
    return caught.value.message, caught.value.hint


def test_an_empty_folder(cats, tmp_path):
    (tmp_path / "empty").mkdir()
    message, _ = said(DataError, what=("empty", str(cats)), features="tiny")
    assert message.startswith("no images in empty (found 0 of ")


def test_pictures_of_other_sizes(cats, tmp_path):
    pictures(tmp_path / "large", 0, side=20, channels=1)
    assert said(UsageError, what=("large", "cats"), features="tiny") == (
        "large holds 20×20 px, grey, and cats holds 12×12 px, colour",
        "bring both to the same channels first: limner prepare PICTURES --colour grey; give both one size: --size 12",
    )
    pictures(tmp_path / "grey", 0, side=12, channels=1)
    assert said(UsageError, what=("grey", "cats"), features="tiny")[1] == (
        "bring both to the same channels first: limner prepare PICTURES --colour grey"
    )
    pictures(tmp_path / "tall", 3, side=20)
    go(what=("tall", "cats"), features="tiny", size=12, out="report")


def test_nothing_to_compare_with(cats):
    assert said(UsageError, what=("cats",)) == (
        "cats is no model, and there is nothing to compare its pictures with",
        "limner evaluate cats OTHER, or give a model file",
    )
    assert said(UsageError, what=("cats", "cats"), data="digits") == (
        "two sets of pictures need no --data", "leave it out",
    )  # fmt: skip


def test_an_existing_report(copied):
    (copied / "evaluation").mkdir()
    (copied / "evaluation" / "report.html").write_text("mine")
    assert said(UsageError, what=str(copied)) == (
        f"{copied / 'evaluation'} exists already", "give another --out, or --force to overwrite it",
    )  # fmt: skip
    go(what=str(copied), force=True, metrics=("diversity",), **QUICK)
    assert "mine" not in (copied / "evaluation" / "report.html").read_text()


def test_a_model_of_another_verb(copied, monkeypatch):
    class Other(torch.nn.Module):
        pass

    real = limner.load(copied / "model.safetensors")
    real.method = Other()
    monkeypatch.setattr("limner.reports.subject.load", lambda path: real)
    monkeypatch.setattr(type(real), "to", lambda self, device: self)
    file = copied / "model.safetensors"
    assert said(UsageError, what=str(file)) == (
        f"{file} is a model of gan, which does not make pictures out of noise",
        "compare what it makes with what it should have made: limner evaluate ITS-PICTURES THE-REAL-ONES",
    )


def test_data_of_another_kind(copied):
    message, _ = said(UsageError, what=str(copied), data="ring", features="tiny")
    assert message.startswith("'ring' holds points")


def test_data_that_it_did_not_learn_from(copied, cats):
    events = go(what=str(copied), data="cats", metrics=("diversity",), **QUICK)
    assert [e.text for e in events if isinstance(e, Warned)][-1:] == [
        f"cats is not what {copied / 'model.safetensors'} learned from: its pictures differ, so copying can't be seen"
    ]


def test_strangers_are_not_called_training_data(copied, cats, tmp_path):
    with building(tmp_path / "others") as folder:
        write_pack(folder, np.zeros((60, 1, 8, 8), np.uint8) + np.arange(60, dtype=np.uint8)[:, None, None, None], None,
                   name="others", source="here")  # fmt: skip
    go(what=str(copied), data="others", **QUICK)
    report = read(copied / "evaluation")
    assert "copying" not in rows_of(report) and report["memorisation"] is None
    assert "copying is not looked for: the model learned from other data" in report["notes"]
    names = [row["name"] for row in report["discriminator"]["rows"]]
    assert names[0] == "real data taken for real" and not any("training" in name for name in names)


def test_pictures_that_no_network_looks_at(tmp_path):
    for name, channels, features in (("four", 4, "tiny"), ("one", 1, "stacked")):
        with building(tmp_path / name) as folder:
            write_pack(folder, np.zeros((40, channels, 8, 8), np.uint8), None, name=name, source="here")
        message, _ = said(UsageError, what=(name, name), features=features)
        assert message.startswith(f"{features} looks at") and f"{name} has {channels} channel" in message


def test_samples_that_are_not_finite(copied, monkeypatch):
    monkeypatch.setattr(
        "limner.methods.gan.GAN.generate", lambda self, z, label=None: torch.full((len(z), 1, 8, 8), torch.nan)
    )
    message, _ = said(ModelError, what=str(copied), **QUICK)
    assert message == f"{copied} makes values that are not finite"


def test_a_shard_s_discriminator_and_copies_are_held_against_the_shard(tmp_path, monkeypatch):
    """Beside all of the pictures, a discriminator that knows its twentieth by heart would look innocent."""
    from limner.reports import evidence

    asked = []
    for name, place in (("judgement", 2), ("copies", 1)):
        own = getattr(evidence, name)
        monkeypatch.setattr(
            evidence,
            name,
            lambda *args, own=own, place=place, **more: (asked.append(args[place]), own(*args, **more))[1],
        )
    tiny = {"batch": 20, "width": 8, "threads": 1, "steps": 3}
    for _ in limner.train("gan", **tiny, data="digits", shard="1/20", out=tmp_path / "a"):
        pass
    go(what=str(tmp_path / "a"), metrics=("fd", "discriminator", "memorisation"), **QUICK)
    report = json.loads((tmp_path / "a/evaluation/report.json").read_text())
    shard = finish(open_data("digits")).shard("1/20")
    assert len(asked) == 2 and all(np.array_equal(data.rows, shard.rows) for data in asked)
    assert "of the 1,797 train samples" in " ".join(report["notes"])


def test_the_held_out_part_is_named(tmp_path):
    for _ in limner.train("gan", data="digits", augment="ada", steps=20, width=8, batch=16, threads=1, out=tmp_path):
        pass
    go(what=str(tmp_path), metrics=("fd",), **QUICK)
    report = json.loads((tmp_path / "evaluation/report.json").read_text())
    assert report["protocol"]["real row"] == "120 set aside in training"
    assert report["protocol"]["reference"] == "120 of 1,618 (train)"


def test_other_classes_than_the_model_s_are_not_asked_for(tmp_path):
    for name, count in (("ab", 2), ("abc", 3)):
        for letter in "abc"[:count]:
            pictures(tmp_path / name / letter, count, count=20, side=8)
    for _ in limner.train("gan", data=tmp_path / "ab", conditioning="concat", steps=3, width=8, batch=16, threads=1,
                          out=tmp_path / "run"):  # fmt: skip
        pass
    events = go(what=str(tmp_path / "run"), data=str(tmp_path / "abc"), metrics=("fd",), samples=50, features="tiny")
    warned = [event.text for event in events if isinstance(event, Warned)]
    assert any("has other classes than" in text for text in warned)


def test_metrics_of_points_are_not_chosen(tmp_path):
    for _ in limner.train("gan", data="ring", latent=2, steps=3, width=8, batch=16, threads=1, out=tmp_path):
        pass
    assert said(UsageError, what=str(tmp_path), metrics=("fd",))[0].startswith("--metrics chooses among figures of")
    go(what=str(tmp_path), metrics="discriminator", samples=300)


def test_an_unfinished_run(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "settings.json").write_text("{}")
    message, _ = said(UsageError, what="run")
    assert message == "the run run has not finished: it has no model.safetensors yet"


def test_a_misspelt_metric():
    message, _ = said(UsageError, what="x", metrics=("fid",))
    assert message.startswith("setting 'metrics.0'")


def test_an_interruption_leaves_nothing(copied):
    events = evaluate(Evaluate.read({"what": str(copied), **QUICK}))
    for event in events:
        if isinstance(event, Table):
            break
    events.close()
    assert not (copied / "evaluation").exists()


def test_a_page_that_fails_leaves_nothing(copied, monkeypatch):
    def broken(record, panels):
        raise RuntimeError("no page")

    monkeypatch.setattr("limner.reports.evaluation.evaluation_page", broken)
    with pytest.raises(RuntimeError):
        go(what=str(copied), metrics=("diversity",), **QUICK)
    assert not (copied / "evaluation").exists()


def test_a_model_beside_a_second_word_is_not_taken_for_a_folder_of_pictures(run, tmp_path):
    with pytest.raises(UsageError, match="is a model, and two words are two sets of pictures") as error:
        go(what=(str(run), "digits"))
    assert error.value.hint == f"limner evaluate {run} --data digits"
    with pytest.raises(UsageError) as error:
        go(what=(str(run), str(run / "model.safetensors")))
    assert error.value.hint == f"limner compare {run} {run / 'model.safetensors'}"


def test_choices_for_something_else_are_refused(copied, tmp_path):
    for choice, said in (({"border": 2}, "--border is cut where pairs"), ({"size": 8}, "--size is for two sets")):
        with pytest.raises(UsageError, match=said):
            go(what=str(copied), samples=60, **choice)
    for _ in limner.train("gan", data="ring", steps=2, width=8, batch=16, threads=1, out=tmp_path / "points"):
        pass
    with pytest.raises(UsageError, match="no network looks at them"):
        go(what=str(tmp_path / "points"), weights=tmp_path / "nope.pth")


def test_weights_that_are_not_there_or_something_else_are_told(copied, tmp_path):
    (tmp_path / "else.safetensors").write_bytes(b"not weights")
    for name in ("nope.safetensors", "else.safetensors"):
        with pytest.raises(ModelError, match=f"{name} does not hold weights of the digits network"):
            go(what=str(copied), samples=60, weights=tmp_path / name)
