/* Gaussian naive Bayes. */

#include "kernel.h"

/* Rows whose sums stay in the processor's registers; a tile has a multiple of them, and what is behind its last
   row is computed and not read. PAIRWISE inputs are summed in SUMS lanes, more of them in two halves. */
enum { ROWS = 8, PAIRWISE = 128, SUMS = 8 };

INLINE void term(const struct column *in, double mean, double variance, int64_t from, double *to)
{
    const double *x = in->data + from;
    for (int r = 0; r < ROWS; r++) {
        double apart = x[r] - mean;
        to[r] = apart * apart / variance;
    }
}

/* The sum of the terms in numpy's order: far from the mean, terms are so large that the last bit decides. */
INLINE void some_body(const struct column *in, const double *mean, const double *variance, int64_t size, int64_t from,
                 double *total)
{
    double lanes[SUMS][ROWS], one[ROWS];
    int64_t c = 0;
    for (int r = 0; r < ROWS; r++) total[r] = 0.0;
    if (size >= SUMS) {
        for (; c < SUMS; c++) term(&in[c], mean[c], variance[c], from, lanes[c]);
        for (; c + SUMS <= size; c += SUMS)
            for (int k = 0; k < SUMS; k++) {
                term(&in[c + k], mean[c + k], variance[c + k], from, one);
                for (int r = 0; r < ROWS; r++) lanes[k][r] += one[r];
            }
        for (int r = 0; r < ROWS; r++)
            total[r] = ((lanes[0][r] + lanes[1][r]) + (lanes[2][r] + lanes[3][r]))
                     + ((lanes[4][r] + lanes[5][r]) + (lanes[6][r] + lanes[7][r]));
    }
    for (; c < size; c++) {
        term(&in[c], mean[c], variance[c], from, one);
        for (int r = 0; r < ROWS; r++) total[r] += one[r];
    }
}

WIDE(some, (const struct column *in, const double *mean, const double *variance, int64_t size, int64_t from,
            double *total), (in, mean, variance, size, from, total))

static void pairwise(const struct column *in, const double *mean, const double *variance, int64_t size,
                     int64_t from, double *total)
{
    if (size <= PAIRWISE) {
        some(in, mean, variance, size, from, total);
        return;
    }
    double other[ROWS];
    int64_t half = size / 2;
    half -= half % SUMS;
    pairwise(in, mean, variance, half, from, total);
    pairwise(in + half, mean + half, variance + half, size - half, from, other);
    for (int r = 0; r < ROWS; r++) total[r] += other[r];
}

/* Dense inputs. p: j means of each input, then as many variances; q: j norms, then j priors. */
void step_gaussian(const struct step *s, int64_t first, int64_t n)
{
    int64_t width = s->count;
    (void)first;
    for (int64_t from = 0; from < n; from += ROWS)
        for (int64_t k = 0; k < s->j; k++) {
            double total[ROWS], *out = s->out + k * s->stride + from;
            pairwise(s->columns, s->p + k * width, s->p + (s->j + k) * width, width, from, total);
            for (int r = 0; r < ROWS; r++) out[r] = s->q[s->j + k] + (s->q[k] - 0.5 * total[r]);
        }
}
