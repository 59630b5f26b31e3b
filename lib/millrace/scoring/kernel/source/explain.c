/* Exact Shapley values of trees: the same steps as scoring/explain.py, which explains them. */

#include "kernel.h"

enum { MOST_POINTS = 64 };

struct game {
    const int32_t *skip, *feature;
    const double *number, *cover, *leaves;
    const uint8_t *masks;
    const double *row;
    int32_t width, points;
    const double *t, *weights;
    /* For each input what the splits on the way here leave of it: the share of the training rows, whether the
       row took every turn, and its factor at each point. */
    double *share, *taken, *factors;
    double *parts;
};

static int goes_left(const struct game *g, int64_t node)
{
    int32_t feature = g->feature[node];
    if (feature < 2 * g->width)
        return g->row[feature] <= g->number[node];
    int32_t code = (int32_t)g->row[feature];
    return g->masks[32 * (int64_t)g->number[node] + code / 8] >> (code % 8) & 1;
}

static double integral(const struct game *g, const double *sums, const double *factors)
{
    double total = 0.0;
    for (int32_t q = 0; q < g->points; q++)
        total += g->weights[q] * sums[q] / factors[q];
    return total;
}

static void play(const struct game *g, int64_t node, const double *products, double *sums)
{
    int32_t step = g->skip[node], points = g->points;
    if (step == 0) {
        for (int32_t q = 0; q < points; q++)
            sums[q] = g->leaves[node] * products[q];
        return;
    }
    int32_t feature = g->feature[node] % g->width;
    double *factors = g->factors + (int64_t)feature * points;
    double share = g->share[feature], taken = g->taken[feature];
    double before[MOST_POINTS], below[MOST_POINTS], carried[MOST_POINTS];
    for (int32_t q = 0; q < points; q++) {
        before[q] = factors[q];
        sums[q] = 0.0;
    }
    int left = goes_left(g, node);
    for (int side = 0; side < 2; side++) {
        int64_t child = side ? node + step : node + 1;
        double part = g->cover[child] / g->cover[node] * share;
        double turn = (side ? !left : left) ? taken : 0.0;
        if (turn == 0.0 && part == 0.0)
            continue; /* neither a training row nor this one comes here */
        g->share[feature] = part;
        g->taken[feature] = turn;
        for (int32_t q = 0; q < points; q++) {
            factors[q] = part * (1.0 - g->t[q]) + turn * g->t[q];
            carried[q] = products[q] * factors[q] / before[q];
        }
        play(g, child, carried, below);
        g->parts[feature] += (turn - part) * integral(g, below, factors);
        if (taken != share)
            g->parts[feature] -= (taken - share) * integral(g, below, before);
        for (int32_t q = 0; q < points; q++)
            sums[q] += below[q];
    }
    g->share[feature] = share;
    g->taken[feature] = taken;
    for (int32_t q = 0; q < points; q++)
        factors[q] = before[q];
}

/* Add to `parts`, one for each input, what the inputs contribute to the sum of the trees at `roots`. `row` holds
   the row thrice, as scoring/rows/trees.py makes it; `scratch` has room for width * (2 + points) doubles, and
   points is at most 64. */
void millrace_shapley(const int32_t *skip, const int32_t *feature, const double *number, const double *cover,
                      const double *leaves, const uint8_t *masks, const int32_t *roots, int64_t count,
                      const double *row, int32_t width, int32_t points, const double *t,
                      const double *weights, double *scratch, double *parts)
{
    struct game g = {skip, feature, number, cover, leaves, masks, row, width, points, t, weights,
                     scratch, scratch + width, scratch + 2 * (int64_t)width, parts};
    double products[MOST_POINTS], sums[MOST_POINTS];
    for (int64_t k = 0; k < (int64_t)width * (2 + points); k++)
        scratch[k] = 1.0;
    for (int32_t q = 0; q < points; q++)
        products[q] = 1.0;
    for (int64_t k = 0; k < count; k++)
        play(&g, roots[k], products, sums);
}
