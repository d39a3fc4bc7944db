"""The contrastive losses of the papers, written out in loops."""

import math

import torch


def cosine(x, y):
    return float(x @ y) / (math.sqrt(x @ x) * math.sqrt(y @ y))


def share(scores, place):
    """-log( exp(s_place) / sum exp(s) )"""
    return -math.log(math.exp(scores[place]) / sum(map(math.exp, scores)))


def simclr(a, b, t):
    """Chen et al. 2020, algorithm 1: views interleaved, counted from 1 in the paper."""
    z = [view for pair in zip(a, b, strict=True) for view in pair]
    total = 0.0
    for k in range(len(a)):
        for i, j in ((2 * k, 2 * k + 1), (2 * k + 1, 2 * k)):
            below = sum(math.exp(cosine(z[i], z[m]) / t) for m in range(len(z)) if m != i)
            total += -math.log(math.exp(cosine(z[i], z[j]) / t) / below)
    return total / (2 * len(a))


def dcl(a, b, t):
    """Yeh et al. 2022, equation 6, over both views of every picture."""
    views, total = (a, b), 0.0
    for i in range(len(a)):
        for k in (0, 1):
            own = views[k][i]
            below = sum(
                math.exp(cosine(own, views[m][j]) / t)
                for m in (0, 1)
                for j in range(len(a))
                if j != i
            )
            total += -cosine(own, views[1 - k][i]) / t + math.log(below)
    return total / (2 * len(a))


def khosla(z, labels, t):
    """Khosla et al. 2020, equation 2; the mean over anchors with a positive."""
    found = []
    for i in range(len(z)):
        positives = [p for p in range(len(z)) if p != i and labels[p] == labels[i]]
        below = sum(math.exp(cosine(z[i], z[a]) / t) for a in range(len(z)) if a != i)
        terms = [math.log(math.exp(cosine(z[i], z[p]) / t) / below) for p in positives]
        if positives:
            found.append(-sum(terms) / len(positives))
    return sum(found) / max(len(found), 1)


def he(q, k, queue, t):
    """He et al. 2020, equation 1: one positive and K negatives."""
    each = [
        share([cosine(q[i], k[i]) / t, *(cosine(q[i], n) / t for n in queue)], 0)
        for i in range(len(q))
    ]
    return sum(each) / len(each)


def dwibedi(a, b, p, q, support, t):
    """Dwibedi et al. 2021, equations 1 to 3, both directions."""
    support = [row / row.norm() for row in support]

    def nearest(z):
        return min(support, key=lambda row: float((z / z.norm() - row).norm()))

    def one_way(views, predicted):
        near = [nearest(z) for z in views]
        return [
            share([cosine(near[i], predicted[k]) / t for k in range(len(near))], i)
            for i in range(len(near))
        ]

    each = one_way(a, q) + one_way(b, p)
    return sum(each) / len(each)


def radford(x, y, scale):
    """Radford et al. 2021, figure 3: cross-entropy along both axes, averaged."""
    number = range(len(x))
    logits = [[scale * cosine(x[i], y[j]) for j in number] for i in number]
    columns = list(zip(*logits, strict=True))
    return sum(share(logits[i], i) + share(columns[i], i) for i in number) / (2 * len(x))


def sohn(f, g, weight):
    """Sohn 2016, equation 6, and the squared lengths of both embeddings."""
    each = [
        math.log(1 + sum(math.exp(f[i] @ g[j] - f[i] @ g[i]) for j in range(len(f)) if j != i))
        + weight * float(f[i] @ f[i] + g[i] @ g[i]) / 2
        for i in range(len(f))
    ]
    return sum(each) / len(each)


def laskin(q, k, w):
    """CURL's compute_logits: q (W k^T), less its largest in each row, and a cross-entropy."""
    logits = q @ (w @ k.T)
    logits = logits - logits.max(1).values[:, None]
    return torch.nn.functional.cross_entropy(logits, torch.arange(len(q))).item()


def li(v, keys, prototypes, assignments, phi, t):
    """Li et al. 2021, equation 11, the mean over embeddings."""
    total = 0.0
    for i in range(len(v)):
        total += share([cosine(v[i], k) / t for k in keys], i)
        for c, s, p in zip(prototypes, assignments, phi, strict=True):
            scores = [cosine(v[i], c[j]) / float(p[j]) for j in range(len(c))]
            total += share(scores, int(s[i])) / len(prototypes)
    return total / len(v)
