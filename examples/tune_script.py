"""A Ray Tune run of your own over our architectures: space and proposals are ours, the training is yours."""

import torch
from ray import tune

import nas.tune
import search_spaces
from workers.data import load_data
from workers.ray_cluster import local_cluster

SPACE = search_spaces.load("cellular", input_shape=(1, 8, 8), classes=10)


def train(config):
    network = search_spaces.to_module(nas.tune.architecture(SPACE, config))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.003)
    seen, unseen = load_data("digits").train, load_data("digits").validation
    images, labels = torch.tensor(seen.images), torch.tensor(seen.labels)
    for _ in range(3):
        for batch in torch.randperm(len(seen)).split(64):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network.train()(images[batch]), labels[batch]).backward()
            optimizer.step()
        with torch.no_grad():
            answers = network.eval()(torch.tensor(unseen.images)).argmax(1)
        tune.report({"accuracy": float((answers == torch.tensor(unseen.labels)).float().mean())})


if __name__ == "__main__":
    search = nas.tune.searcher(SPACE, "evolution", objectives=["accuracy:max"], constraints=["macs<=1e6"])
    with local_cluster(cpus=2):
        tuner = tune.Tuner(train, tune_config=tune.TuneConfig(search_alg=search, num_samples=4))
        print(tuner.fit().get_best_result("accuracy", "max").metrics["accuracy"])
