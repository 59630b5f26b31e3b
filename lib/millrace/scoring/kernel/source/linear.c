/* Weighted sums, constants, and what becomes of raw outputs. */

#include "kernel.h"
enum { LANES = 64 };

INLINE void weighted_body(const struct step *s, int64_t first, int64_t n, int64_t output, int64_t from)
{
    double total[LANES], rest[LANES];
    int64_t lanes = n - from < LANES ? n - from : LANES;
    const double *w = s->p;
    for (int64_t r = 0; r < LANES; r++) total[r] = rest[r] = 0.0;
    w += output * s->i;
    for (int64_t c = 0; c < s->count; c++) {
        const struct column *in = &s->columns[c];
        if (in->kind == DENSE && lanes == LANES) {
            const double *x = in->data + from;
            double weight = *w;
            for (int64_t r = 0; r < LANES; r++) {
                double product = x[r] == 0.0 ? 0.0 : x[r] * weight;
                double sum = total[r] + product;
                double larger = (total[r] - sum) + product, smaller = (product - sum) + total[r];
                rest[r] += fabs(total[r]) >= fabs(product) ? larger : smaller;
                total[r] = sum;
            }
        } else if (in->kind == DENSE) {
            for (int64_t r = 0; r < lanes; r++) {
                double x = in->data[from + r];
                if (x != 0.0) compensated(&total[r], &rest[r], x * *w);
            }
        } else if (in->kind == ONE_HOT) {
            for (int64_t r = 0; r < lanes; r++) {
                int64_t k = (int64_t)in->data[from + r] - in->first;
                if (k >= 0 && k < in->width) compensated(&total[r], &rest[r], w[k]);
            }
        } else {
            for (int64_t r = 0; r < lanes; r++) {
                const int64_t *start = in->starts + first + from + r;
                for (int64_t i = start[0]; i < start[1]; i++) {
                    int32_t k = in->index[i] - in->first;
                    if (k >= 0 && k < in->width && in->values[i] != 0.0)
                        compensated(&total[r], &rest[r], w[k] * in->values[i]);
                }
            }
        }
        w += in->width;
    }
    double *out = s->out + output * s->stride + from;
    for (int64_t r = 0; r < lanes; r++) out[r] = compensated_end(total[r], rest[r]) + s->q[output];
}

WIDE(weighted, (const struct step *s, int64_t first, int64_t n, int64_t output, int64_t from),
     (s, first, n, output, from))

/* p: weights, j outputs x i inputs; q: intercepts. Zeros are left out, as for a row. */
void step_linear(const struct step *s, int64_t first, int64_t n)
{
    for (int64_t output = 0; output < s->j; output++)
        for (int64_t from = 0; from < n; from += LANES) weighted(s, first, n, output, from);
}

/* p: j values. */
void step_constant(const struct step *s, int64_t first, int64_t n)
{
    (void)first;
    for (int64_t k = 0; k < s->j; k++)
        for (int64_t r = 0; r < n; r++) s->out[k * s->stride + r] = s->p[k];
}

/* One input, two outputs. */
void step_logistic(const struct step *s, int64_t first, int64_t n)
{
    const double *in = s->columns->data;
    (void)first;
    for (int64_t r = 0; r < n; r++) {
        double probability = expit(in[r]);
        s->out[r] = 1.0 - probability;
        s->out[s->stride + r] = probability;
    }
}

/* Dense inputs, as many outputs. */
void step_softmax(const struct step *s, int64_t first, int64_t n)
{
    (void)first;
    for (int64_t r = 0; r < n; r++) {
        double highest = s->columns[0].data[r], total = 0.0;
        for (int64_t k = 1; k < s->count; k++)
            if (s->columns[k].data[r] > highest) highest = s->columns[k].data[r];
        for (int64_t k = 0; k < s->count; k++) {
            double power = exp(s->columns[k].data[r] - highest);
            s->out[k * s->stride + r] = power;
            total += power;
        }
        for (int64_t k = 0; k < s->count; k++) s->out[k * s->stride + r] /= total;
    }
}

/* One input, two outputs. */
void step_pair(const struct step *s, int64_t first, int64_t n)
{
    const double *in = s->columns->data;
    (void)first;
    for (int64_t r = 0; r < n; r++) {
        s->out[r] = 1.0 - in[r];
        s->out[s->stride + r] = in[r];
    }
}

/* Dense inputs, as many outputs that sum to 1. i: take the logistic function first; j: equal shares where the
   sum is 0, which else stays. */
void step_shares(const struct step *s, int64_t first, int64_t n)
{
    (void)first;
    for (int64_t r = 0; r < n; r++) {
        double total = 0.0;
        for (int64_t k = 0; k < s->count; k++) {
            double value = s->i ? expit(s->columns[k].data[r]) : s->columns[k].data[r];
            s->out[k * s->stride + r] = value;
            total += value;
        }
        if (total != 0.0)
            for (int64_t k = 0; k < s->count; k++) s->out[k * s->stride + r] /= total;
        else if (s->j)
            for (int64_t k = 0; k < s->count; k++) s->out[k * s->stride + r] = 1.0 / (double)s->count;
    }
}

/* Dense inputs, as many outputs: from -1 .. 1 to 0 .. 1, and level outside. */
void step_half(const struct step *s, int64_t first, int64_t n)
{
    (void)first;
    for (int64_t k = 0; k < s->count; k++)
        for (int64_t r = 0; r < n; r++) {
            double x = s->columns[k].data[r];
            s->out[k * s->stride + r] = x < -1.0 ? 0.0 : x > 1.0 ? 1.0 : (x + 1.0) / 2.0;
        }
}

/* Dense inputs, as many outputs: what logarithms of joint likelihoods say. */
void step_posterior(const struct step *s, int64_t first, int64_t n)
{
    (void)first;
    for (int64_t r = 0; r < n; r++) {
        double highest = s->columns[0].data[r], total = 0.0;
        for (int64_t k = 1; k < s->count; k++)
            if (s->columns[k].data[r] > highest) highest = s->columns[k].data[r];
        int64_t highs = 0;
        for (int64_t k = 0; k < s->count; k++) {
            double x = s->columns[k].data[r];
            if (x == highest) highs++;
            else total += exp(x - highest);
        }
        double norm = log1p(total / (double)highs) + log((double)highs) + highest;
        /* Of no number, or of one without bounds, nothing follows. */
        for (int64_t k = 0; k < s->count; k++)
            s->out[k * s->stride + r] = highest - highest == 0.0 ? exp(s->columns[k].data[r] - norm) : NAN;
    }
}

/* Dense inputs, as many outputs. a: what multiplies; i: the logarithm of a probability, not the number itself,
   is multiplied; b: what is added to the probability. */
void step_temperature(const struct step *s, int64_t first, int64_t n)
{
    (void)first;
    for (int64_t k = 0; k < s->count; k++)
        for (int64_t r = 0; r < n; r++) {
            double x = s->columns[k].data[r];
            s->out[k * s->stride + r] = s->a * (s->i ? x > -s->b ? log(x + s->b) : NAN : x);
        }
}
