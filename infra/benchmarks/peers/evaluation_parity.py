"""The peers of evaluation_parity: what each of them makes of the inputs in a folder.

Runs in an environment with EVALUATION_PEERS. Each word is a comparison; answers are JSON, arrays go through safetensors.
"""

import json
import shutil
import sys
import time
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from torch_peers import PREPARE

exec(PREPARE)

import torch  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

MODEL = "ViT-S-32-alt"


def create(job):
    """A random model in open_clip's own format, with its tokenizer beside it."""
    import open_clip

    torch.manual_seed(0)
    model = open_clip.create_model(MODEL)
    with torch.no_grad():
        for name, each in model.named_parameters():
            if each.ndim < 2 and name != "logit_scale":  # biases begin at zero, which would hide a mistake in them
                each.add_(torch.randn_like(each), alpha=0.1)
    there = Path(job["model"])
    there.mkdir()
    save_file(
        {name: each.contiguous() for name, each in model.state_dict().items()}, there / "open_clip_model.safetensors"
    )
    config = {
        "model_cfg": open_clip.get_model_config(MODEL),
        "preprocess_cfg": {"mean": job["mean"], "std": job["std"]},
    }
    (there / "open_clip_config.json").write_text(json.dumps(config))
    shutil.copy(Path(open_clip.__file__).parent / "bpe_simple_vocab_16e6.txt.gz", there)
    names = (
        "clip-benchmark",
        "open_clip_torch",
        "torchmetrics",
        "scikit-learn",
        "scipy",
        "statsmodels",
        "numpy",
        "torch",
    )
    return {"versions": {name: metadata.version(name) for name in names}}


def zero_shot(job):
    """CLIP_benchmark's and open_clip's classifiers, and CLIP_benchmark's evaluation of pictures."""
    import open_clip
    from clip_benchmark.metrics import zeroshot_classification as peer

    there = job["model"]
    model = open_clip.create_model(f"local-dir:{there}").eval()
    tokenizer = open_clip.SimpleTokenizer(context_length=77)
    names, templates = job["names"], job["templates"]
    formatted = [template.replace("{}", "{c}") for template in templates]
    weights = peer.zero_shot_classifier(model, tokenizer, names, formatted, "cpu", amp=False)
    functions = [lambda name, t=template: t.replace("{}", name) for template in templates]
    other = open_clip.build_zero_shot_classifier(model, tokenizer, names, functions, num_classes_per_batch=None)
    given = load_file(f"{job['folder']}/pictures.safetensors")
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (job["mean"], job["std"]))
    data = torch.utils.data.TensorDataset((given["pixels"] / 255 - mean) / std, given["labels"])
    data.classes = names
    loader = torch.utils.data.DataLoader(data, batch_size=32)
    logits, _ = peer.run_classification(model, weights, loader, "cpu", amp=False)
    found = {"weights": weights.T.contiguous(), "open_clip": other.T.contiguous(), "logits": logits}
    save_file(found, f"{job['folder']}/zero_shot.safetensors")
    return peer.evaluate(model, loader, tokenizer, names, formatted, "cpu", amp=False, verbose=False)


def multilabel(job):
    from clip_benchmark.metrics.zeroshot_classification import average_precision_per_class
    from sklearn.metrics import average_precision_score, roc_auc_score
    from torchmetrics.functional.classification import multilabel_average_precision

    given = load_file(f"{job['folder']}/multilabel.safetensors")
    scores, right = given["scores"], given["right"].long()
    return {
        "CLIP_benchmark": average_precision_per_class(scores, right).mean().item(),
        "torchmetrics": multilabel_average_precision(scores, right, right.shape[1]).item(),
        "scikit-learn": float(average_precision_score(right.numpy(), scores.numpy())),
        "area": float(roc_auc_score(right[:, 0].numpy(), scores[:, 0].numpy())),
    }


def calibration(job):
    from sklearn.metrics import balanced_accuracy_score
    from torchmetrics.functional import classification as metrics

    given = load_file(f"{job['folder']}/calibration.safetensors")
    p, labels = given["probabilities"], given["labels"].long()
    classes = p.shape[1]
    return {
        "error": metrics.multiclass_calibration_error(p, labels, classes, n_bins=15).item(),
        "macro": metrics.multiclass_accuracy(p, labels, classes).item(),
        "micro": metrics.multiclass_accuracy(p, labels, classes, average="micro").item(),
        "top5": metrics.multiclass_accuracy(p, labels, classes, average="micro", top_k=5).item(),
        "balanced": float(balanced_accuracy_score(labels.numpy(), p.argmax(1).numpy())),
    }


def megabytes(reset=False):
    """This process's highest memory since it was last reset: Linux counts anew when asked."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def retrieval(job):
    """CLIP_benchmark's recall at each depth, both ways, with its own batches of 64; CPU seconds and memory on top."""
    from clip_benchmark.metrics.zeroshot_retrieval import batchify, recall_at_k

    given = load_file(f"{job['folder']}/retrieval.safetensors")
    before, start = megabytes(reset=True), time.process_time()
    scores = given["texts"] @ given["images"].T
    positive = torch.zeros_like(scores, dtype=bool)
    positive[torch.arange(len(scores)), given["owners"].long()] = True
    found = {}
    for depth in job["depths"]:
        for name, way, pairs in (("text_to_image", scores, positive), ("image_to_text", scores.T, positive.T)):
            hits = batchify(recall_at_k, way, pairs, 64, "cpu", k=depth) > 0
            found[f"recall@{depth}/{name}"] = hits.float().mean().item()
    seconds = time.process_time() - start
    return {
        "recalls": found,
        "seconds": seconds,
        "megabytes": megabytes() - before,
    }


def intervals(job):
    from scipy.stats import binomtest
    from statsmodels.stats.contingency_tables import mcnemar
    from statsmodels.stats.multitest import multipletests
    from statsmodels.stats.proportion import proportion_confint

    def of(k, n):
        exact, beta = binomtest(k, n).proportion_ci(0.995, "exact"), proportion_confint(k, n, 0.005, "beta")
        return [exact.low, exact.high, *beta, *proportion_confint(k, n, 0.05, "wilson")]

    return {
        "intervals": [of(k, n) for k, n in job["counts"]],
        "mcnemar": [float(mcnemar([[0, b], [c, 0]], exact=True).pvalue) for b, c in job["pairs"]],
        "holm": multipletests(job["p_values"], method="holm")[1].tolist(),
    }


def few(job):
    """mteb's classification: scikit-learn's LogisticRegression(max_iter=100) on each draw; `tight` goes on to the optimum."""
    from sklearn.linear_model import LogisticRegression

    given = {name: each.numpy() for name, each in load_file(f"{job['folder']}/few.safetensors").items()}
    found = {}
    for name, how in (("mteb", {"max_iter": 100, "random_state": 42}), ("tight", {"max_iter": 100_000, "tol": 1e-10})):
        fits = [LogisticRegression(**how).fit(given["train"][each], given["taught"][each]) for each in given["chosen"]]
        found[name] = [float((fit.predict(given["test"]) == given["asked"]).mean()) for fit in fits]
    return found


ANSWERS = {
    "create": create,
    "zero_shot": zero_shot,
    "multilabel": multilabel,
    "calibration": calibration,
    "retrieval": retrieval,
    "intervals": intervals,
    "few": few,
}


def main():
    job = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    torch.set_num_threads(1)
    for line in sys.stdin:
        print(json.dumps(ANSWERS[line.strip()](job)), flush=True)


if __name__ == "__main__":
    main()
