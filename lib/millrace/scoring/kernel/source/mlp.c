/* Layers of neural networks. Their sums are plain, as those of the libraries that train them: compensated ones
   take several times the operations. */

#include "kernel.h"

#include <math.h>

/* Sums of so many rows and outputs stay in the processor's registers. A tile has a multiple of ROWS; what is
   behind its last row is computed and not read. */
enum { ROWS = 8, UNITS = 4 };

/* `ACTIVATIONS` of mlp.py; 0 is the identity. */
enum { LOGISTIC = 1, TANH = 2, RELU = 3 };

INLINE void add_dense(const struct column *in, int64_t count, const double *w, int64_t width, int64_t from,
                      int units, double total[UNITS][ROWS])
{
    double sum[UNITS][ROWS];
    for (int u = 0; u < units; u++)
        for (int r = 0; r < ROWS; r++) sum[u][r] = total[u][r];
    for (int64_t c = 0; c < count; c++) {
        const double *x = in[c].data + from;
        for (int u = 0; u < units; u++) {
            double weight = w[u * width + c];
            for (int r = 0; r < ROWS; r++) sum[u][r] += x[r] * weight;
        }
    }
    for (int u = 0; u < units; u++)
        for (int r = 0; r < ROWS; r++) total[u][r] = sum[u][r];
}

INLINE void add_codes(const struct column *in, const double *w, int64_t width, int64_t from, int64_t rows,
                      int units, double total[UNITS][ROWS])
{
    for (int64_t r = 0; r < rows; r++) {
        int64_t k = (int64_t)in->data[from + r] - in->first;
        if (k < 0 || k >= in->width) continue;
        for (int u = 0; u < units; u++) total[u][r] += w[u * width + k];
    }
}

INLINE void add_sparse(const struct column *in, const double *w, int64_t width, int64_t from, int64_t rows,
                       int units, double total[UNITS][ROWS])
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = in->starts[from + r]; i < in->starts[from + r + 1]; i++) {
            int32_t k = in->index[i] - in->first;
            if (k < 0 || k >= in->width) continue;
            for (int u = 0; u < units; u++) total[u][r] += w[u * width + k] * in->values[i];
        }
}

/* The sums of `units` outputs from `output` on. */
INLINE void sums(const struct step *s, int64_t first, int64_t n, int64_t output, int units, int64_t width)
{
    for (int64_t from = 0; from < n; from += ROWS) {
        double total[UNITS][ROWS] = {{0.0}};
        int64_t rows = n - from < ROWS ? n - from : ROWS;
        const double *w = s->p + output * width;
        for (int64_t c = 0, run; c < s->count; c += run) {
            const struct column *in = &s->columns[c];
            int64_t inputs = in->width;
            run = 1;
            if (in->kind == DENSE) {
                while (c + run < s->count && in[run].kind == DENSE) run++;
                inputs = run;
                add_dense(in, run, w, width, from, units, total);
            } else if (in->kind == ONE_HOT) {
                add_codes(in, w, width, from, rows, units, total);
            } else {
                add_sparse(in, w, width, first + from, rows, units, total);
            }
            w += inputs;
        }
        for (int u = 0; u < units; u++)
            for (int r = 0; r < ROWS; r++)
                s->out[(output + u) * s->stride + from + r] = total[u][r] + s->q[output + u];
    }
}

INLINE void layer_body(const struct step *s, int64_t first, int64_t n)
{
    int64_t width = 0, output = 0;
    for (int64_t c = 0; c < s->count; c++) width += s->columns[c].width;
    for (; output + UNITS <= s->j; output += UNITS) sums(s, first, n, output, UNITS, width);
    for (; output < s->j; output++) sums(s, first, n, output, 1, width);
}

WIDE(layer, (const struct step *s, int64_t first, int64_t n), (s, first, n))

/* p: weights, j outputs x inputs; q: intercepts; i: the activation's number. */
void step_layer(const struct step *s, int64_t first, int64_t n)
{
    layer(s, first, n);
    for (int64_t output = 0; output < s->j; output++) {
        double *out = s->out + output * s->stride;
        if (s->i == RELU) {
            for (int64_t r = 0; r < n; r++) out[r] = out[r] < 0.0 ? 0.0 : out[r];
        } else if (s->i == TANH) {
            for (int64_t r = 0; r < n; r++) out[r] = tanh(out[r]);
        } else if (s->i == LOGISTIC) {
            for (int64_t r = 0; r < n; r++) out[r] = expit(out[r]);
        }
    }
}
